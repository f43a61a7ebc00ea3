"""Wheels of packages that are installed here, for installations without a network."""

import zipfile
from importlib.metadata import distribution
from io import BytesIO


def wheel(name: str) -> tuple[str, bytes]:
    """The file name and the content of a wheel with an installed pure Python package."""
    installed = distribution(name)
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(installed.files or [], key=str):
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            if file.name in ("INSTALLER", "REQUESTED", "direct_url.json"):
                continue
            # A fixed time, so that the content is a function of the package.
            archive.writestr(zipfile.ZipInfo(str(file)), file.read_binary())
    normalized = installed.name.lower().replace("-", "_")
    return f"{normalized}-{installed.version}-py3-none-any.whl", content.getvalue()
