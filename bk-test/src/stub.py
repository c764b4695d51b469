def __bootstrap__():
    # A library cannot be loaded from a zip: all of this egg are written to the cache, beside each other.
    import hashlib, importlib.machinery, importlib.util, os, sys, tempfile

    loader, name = __loader__, @NAME@
    egg = loader.archive
    read = lambda path: loader.get_data(os.path.join(egg, *path.split("/")))
    paths = [path for path in read("EGG-INFO/native_libs.txt").decode("utf-8").split("\n") if path]
    data = {path: read(path) for path in paths}
    digest = hashlib.sha256()
    for path in paths:
        digest.update(data[path])
    cache = os.environ.get("PYTHON_EGG_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "Python-Eggs"
    )
    base = os.path.join(cache, "%s-%s" % (os.path.basename(egg), digest.hexdigest()[:16]))
    for path in paths:
        target = os.path.join(base, *path.split("/"))
        if os.path.exists(target):
            continue
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        fd, temporary = tempfile.mkstemp(dir=os.path.dirname(target))
        with os.fdopen(fd, "wb") as file:
            file.write(data[path])
        os.chmod(temporary, 0o755)
        os.replace(temporary, target)
    file = os.path.join(base, *name.split("/"))
    found = importlib.machinery.ExtensionFileLoader(__name__, file)
    spec = importlib.util.spec_from_file_location(__name__, file, loader=found)
    module = importlib.util.module_from_spec(spec)
    sys.modules[__name__] = module
    found.exec_module(module)


__bootstrap__()
