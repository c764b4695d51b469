"""Says whether the modules in a wheel can stay in a zip: zip_safe.py WHEEL.

By what setuptools' bdist_egg looks for: names that only make sense where modules are files.
"""

import sys
import types
import zipfile

SOURCES = {
    "getsource",
    "getabsfile",
    "getfile",
    "getsourcefile",
    "getsourcelines",
    "findsource",
    "getcomments",
    "getframeinfo",
    "getinnerframes",
    "getouterframes",
    "stack",
    "trace",
}


def symbols(code):
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, str):
            yield const
        elif isinstance(const, types.CodeType):
            yield from symbols(const)


def safe(data, name):
    try:
        found = set(symbols(compile(data, name, "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        # It cannot be imported either way: a template, or of another Python.
        return True
    if "__file__" in found or "__path__" in found:
        return False
    return not ("inspect" in found and found & SOURCES)


with zipfile.ZipFile(sys.argv[1]) as wheel:
    names = [name for name in wheel.namelist() if name.endswith(".py") and ".dist-info/" not in name]
    print("zip-safe" if all(safe(wheel.read(name), name) for name in names) else "not-zip-safe")
