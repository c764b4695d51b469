"""Calls a hook of a build backend (PEP 517): backend.py JSON.

Says on its last line what came of it: {"made": name} or {"requires": [requirements]}.
"""

import json
import os
import sys


def missing(requirement):
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:
        return True
    name = ""
    for c in requirement.strip():
        if not (c.isalnum() or c in "._-"):
            break
        name += c
    try:
        version(name)
    except PackageNotFoundError:
        return True
    return False


def main():
    config = json.loads(sys.argv[1])
    # The folder of this file is first on the path, where a script was started.
    sys.path[:1] = [os.path.join(os.getcwd(), path) for path in config["backend_path"]]
    answer = os.dup(1)
    os.dup2(2, 1)
    module, _, attribute = config["backend"].partition(":")
    backend = __import__(module, fromlist=["_"])
    for name in filter(None, attribute.split(".")):
        backend = getattr(backend, name)
    hook = "build_" + config["kind"]
    if not hasattr(backend, hook):
        sys.exit("the build backend '%s' has no %s" % (config["backend"], hook))
    requires = getattr(backend, "get_requires_for_" + hook, lambda settings=None: [])(None)
    requires = [requirement for requirement in requires if missing(requirement)]
    if requires and not config["installed"]:
        said = {"requires": requires}
    else:
        said = {"made": getattr(backend, hook)(config["out"], {})}
    sys.stdout.flush()
    os.write(answer, json.dumps(said).encode())


main()
