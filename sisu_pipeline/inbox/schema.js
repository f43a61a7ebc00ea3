// Published JSON Schemas as a form needs them: references resolved, null as optional, and no default that the server applies.

const MOST_ON_A_LINE = 2000;
const LOGIC = ["oneOf", "anyOf", "allOf", "not", "if", "then", "dependentRequired", "default", "$ref"];

export function plainSchema(schema, root) {
  const { plain, fallback } = flat(schema, root);
  const made = { ...plain };
  if (Array.isArray(made.type)) [made.type] = made.type.filter((type) => type !== "null");
  if (made.enum) made.enum = made.enum.filter((value) => value !== null);
  if (made.type === "string" && made.maxLength <= MOST_ON_A_LINE) made.isLine = true;
  if (made.type === "array" && flat(made.items ?? {}, root).plain.type === "string") made.isLines = true;
  if (made.type === "object" && made.properties) {
    made.isOptionalGroup = true;
    // A former name of a member has no description.
    made.properties = Object.fromEntries(Object.entries(made.properties).map(([name, member]) => [name, titled(name, plainSchema(member, root))])
      .filter(([, member]) => member.description));
  }
  if (fallback !== undefined && fallback !== null && fallback !== "" && typeof fallback !== "object") {
    made.description = `${made.description ?? ""} Default: ${fallback}.`.trim();
  }
  return made;
}

// The keywords of a schema and of all that it refers to; conditions between members are left to the server.
function flat(schema, root) {
  const parts = [...(schema.$ref ? [pointed(schema.$ref, root)] : []), ...(schema.allOf ?? []),
    ...(schema.anyOf?.some(({ type }) => type === "null") ? schema.anyOf.filter(({ type }) => type !== "null").slice(0, 1) : [])];
  const own = Object.fromEntries(Object.entries(schema).filter(([keyword]) => !LOGIC.includes(keyword)));
  const joined = parts.map((part) => flat(part, root).plain).reduce((all, part) => ({ ...all, ...part, properties: merged(all, part) }), {});
  return { plain: tidy({ ...joined, ...own, properties: merged(joined, own) }), fallback: schema.default };
}

const merged = (one, other) => (one.properties || other.properties ? { ...one.properties, ...other.properties } : undefined);

const tidy = (schema) => Object.fromEntries(Object.entries(schema).filter(([, value]) => value !== undefined));

const pointed = (reference, root) => reference.slice(2).split("/").reduce((place, name) => place[name], root);

// `maxSBXMinutes` becomes "Max SBX minutes" where the schema has no title of its own.
function titled(name, schema) {
  const isOwn = schema.title && schema.title.toLowerCase() !== name.toLowerCase();
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").replace(/([A-Z])([A-Z][a-z])/g, "$1 $2").split(" ")
    .map((word) => (/^[A-Z]{2}/.test(word) ? word : word.toLowerCase()));
  const title = words.join(" ");
  return { ...schema, title: isOwn ? schema.title : title[0].toUpperCase() + title.slice(1) };
}
