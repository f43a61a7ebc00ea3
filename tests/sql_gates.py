"""Readers of SQL text for the policy gates. Case, spacing, comments and quotes of names make no difference."""

import re

# In upper case these are SQL wherever they stand.
_UPPER = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+INTO|UPDATE\s+\S+\s+SET|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE\s|LISTEN\s|NOTIFY\s|"
    r"COPY\s.+\s(FROM|TO)\s|GRANT\s.+\sTO\s|REVOKE\s.+\sFROM\s|"
    r"(CREATE|ALTER|DROP)\s+(TABLE|SCHEMA|DATABASE|INDEX|VIEW|FUNCTION|TRIGGER|ROLE))",
    re.DOTALL,
)
# In lower case they are English too, unless a text starts with them or they name something of a schema of ours.
_START = re.compile(
    r"\s*(with\s+\w+\s+as\s|select\s.+\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s|merge\s+into\s|"
    r"truncate\s|copy\s+\S+\s+(from|to)\s|grant\s.+\son\s|revoke\s.+\son\s|"
    r"(create|alter|drop)\s+(table|schema|database|index|view|function|trigger|role)\s)",
    re.DOTALL | re.IGNORECASE,
)
_OF_A_SCHEMA = re.compile(
    r"\b(from|join|into|update|table|truncate|copy)\s+(only\s+)?\"?(app|access|dbos|dagster|pg_catalog)\"?\.\"?\w",
    re.IGNORECASE,
)

_RUNS = r"(?:only )?(?:app\.)?runs\b(?: (?:as )?(?!set\b|using\b|default\b|values\b|select\b)\w+)?"


def is_statement(text: str) -> bool:
    """Whether a text is SQL or a piece of it."""
    return bool(_UPPER.search(text) or _START.match(text) or _OF_A_SCHEMA.search(text))


def without_comments(text: str) -> str:
    """A SQL text without its comments."""
    return re.sub(r"--.*", "", re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL))


def status_writers(statements: dict[str, str]) -> list[str]:
    """The statements (by name) that write the status of a run, when they insert or update it."""
    return sorted(name for name, text in statements.items() if "status" in _columns_written(_normal(text)))


def callers(statements: dict[str, str], function: str) -> list[str]:
    """The statements (by name) that call a function."""
    call = re.compile(rf"\b{re.escape(function)} ?\(")
    return sorted(name for name, text in statements.items() if call.search(_normal(text)))


def engine_schema_changes(text: str) -> list[str]:
    """The statements of a SQL text that change schema `dbos`, beyond creating the empty schema."""
    changes = re.compile(
        r"\b(?:insert into|merge into|delete from|update|truncate|copy) (?:table |only )*dbos\.|"
        r"\b(?:create|alter|drop|comment on|grant|revoke|truncate|search_path)\b.*\bdbos\b"
    )
    found = []
    for statement in _normal(text, literals=True).split(";"):
        changing = statement.replace("create schema if not exists dbos", "")
        # What a view or function reads; `delete from` and `revoke … from` do more.
        reading = re.sub(r"(?<!delete )\b(?:from|join) (?:only )?dbos\.\w+", "", changing)
        if changes.search(reading):
            found.append(statement.strip())
    return found


def breaking_changes(text: str) -> list[str]:
    """The statements of a migration that processes of an earlier release may not survive.

    They drop, rename or move what those read, narrow a type, or require a value that those do not write.
    """
    dropped = re.compile(r"^drop (table|view|materialized view|schema|function|sequence|type) ")
    altered = re.compile(
        r"^alter (table|view|schema) .*?\b("
        r"drop (?!constraint\b|not null\b)|rename\b|set schema\b|"
        r"alter (column )?\w+ (type|set data type|set not null|drop default)\b)"
    )
    found = []
    for statement in (part.strip() for part in _normal(text).split(";")):
        required = any(
            " not null" in added and " default " not in added and " generated " not in added
            for added in re.findall(r"\badd column (.*?)(?:,(?! ?\d)|$)", statement)
        )
        if dropped.search(statement) or altered.search(statement) or required:
            found.append(statement)
    return found


def _columns_written(text: str) -> set[str]:
    """The columns of `app.runs` that a normal text inserts or updates."""
    written: set[str] = set()
    for update in re.finditer(rf"\bupdate {_RUNS} set ", text):
        written |= _assigned(text[update.end() :])
    for insert in re.finditer(rf"\binsert into {_RUNS} ?(?:\((?P<columns>[^)]*)\))?", text):
        rest = text[insert.end() :].split(";")[0]
        written |= set(re.findall(r"\w+", insert["columns"] or ""))
        written |= {column for part in rest.split(" do update set ")[1:] for column in _assigned(part)}
    for merge in re.finditer(rf"\bmerge into {_RUNS}", text):
        rest = text[merge.end() :].split(";")[0]
        written |= {column for part in rest.split(" update set ")[1:] for column in _assigned(part)}
    return written


def _assigned(text: str) -> set[str]:
    """The columns on the left of a list of assignments; the text goes on after the list."""
    columns: set[str] = set()
    depth, on_the_left = 0, True
    for token in re.findall(r"\w+|\S", text):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0 or (depth == 0 and token in ("from", "where", "returning", "when", ";")):
            break
        if depth == 0 and token in ("=", ","):
            on_the_left = token == ","
        elif on_the_left:
            columns.add(token)
    return columns


def _normal(text: str, *, literals: bool = False) -> str:
    """A text without comments, quotes of names, differences of case and space and, unless asked for, literals."""
    plain = without_comments(text)
    if not literals:
        plain = re.sub(r"'(?:[^']|'')*'", "''", plain)
    plain = re.sub(r"\s+", " ", plain.replace('"', "").lower())
    return re.sub(r" ?\. ?", ".", plain)
