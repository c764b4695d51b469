"""Runs tests and tells what came of each: harness.py CONFIG, on Python 3.8 and newer.

Events are JSON, an object a line, in the file that the configuration names: {"event": "start"} and
{"event": "test"} for each test, {"event": "end"} when all were run. Whoever reads them knows from a missing end
that the process did not survive a test.
"""

import io
import json
import os
import sys
import time

# What is kept of a traceback: a hundred screens.
TEXT_LIMIT = 1 << 18


class Events:
    def __init__(self, path):
        self.file = open(path, "ab", buffering=0)
        self.process = os.getpid()

    def __call__(self, event, **fields):
        # A test may fork, and its child may come here too.
        if os.getpid() == self.process:
            line = json.dumps(dict(fields, event=event)) + "\n"
            self.file.write(line.encode("ascii"))


class Result:
    """What comes of one test, which may be told in several parts."""

    ranks = ["passed", "xfailed", "skipped", "xpassed", "failed", "error"]

    def __init__(self):
        self.outcome, self.seconds, self.message, self.text = "passed", 0.0, None, None

    def add(self, outcome, message=None, text=None):
        if self.ranks.index(outcome) > self.ranks.index(self.outcome):
            self.outcome = outcome
            self.message, self.text = message, text and text[:TEXT_LIMIT]

    def fields(self):
        fields = dict(outcome=self.outcome, seconds=round(self.seconds, 6))
        if self.message:
            fields["message"] = self.message
        if self.text:
            fields["text"] = self.text
        return fields


def first_line(text):
    lines = [line for line in str(text).splitlines() if line.strip()]
    return lines[0].strip() if lines else None


class Plugin:
    """A plugin of pytest."""

    def __init__(self, emit, done):
        self.emit, self.done = emit, done
        self.results, self.doctests, self.places = {}, {}, {}

    def pytest_collection_modifyitems(self, config, items):
        for item in items:
            if type(item).__name__ == "DoctestItem":
                self.doctests[item.nodeid] = str(getattr(item, "path", None) or item.fspath)
        again = [item for item in items if item.nodeid in self.done]
        if again:
            config.hook.pytest_deselected(items=again)
            items[:] = [item for item in items if item.nodeid not in self.done]

    def pytest_collectreport(self, report):
        if report.failed:
            result = Result()
            text = str(report.longrepr)
            last = [line for line in text.splitlines() if line.startswith("E ")]
            message = last[-1][1:].strip() if last else first_line(text)
            result.add("error", message, text)
            self.emit("test", id=report.nodeid or ".", **result.fields())

    def pytest_runtest_logstart(self, nodeid, location):
        self.places[nodeid] = location
        self.emit("start", id=nodeid)

    def pytest_runtest_logreport(self, report):
        if report.outcome == "rerun":
            self.results.pop(report.nodeid, None)
            return
        result = self.results.setdefault(report.nodeid, Result())
        result.seconds += getattr(report, "duration", 0.0)
        expected = hasattr(report, "wasxfail")
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            message = first_line(crash.message if crash else report.longrepr)
            outcome = "failed" if report.when == "call" else "error"
            result.add(outcome, message, str(report.longrepr))
        elif report.skipped:
            reason = report.longrepr
            if expected:
                reason = report.wasxfail
            elif isinstance(reason, tuple):
                reason = reason[-1]
            reason = str(reason)
            if reason.startswith("Skipped: "):
                reason = reason[len("Skipped: ") :]
            result.add("xfailed" if expected else "skipped", reason)
        elif expected and report.when == "call":
            result.add("xpassed", report.wasxfail)

    def pytest_runtest_logfinish(self, nodeid, location):
        self.finish(nodeid)

    def pytest_sessionfinish(self):
        # Of workers that died there is no more than a report.
        for nodeid in list(self.results):
            self.finish(nodeid)

    def finish(self, nodeid):
        result = self.results.pop(nodeid, None)
        if result is None:
            return
        fields = result.fields()
        place = self.places.pop(nodeid, None)
        if place:
            fields["file"] = place[0]
            if place[1] is not None:
                fields["line"] = place[1] + 1
        if nodeid in self.doctests:
            fields["doctest"] = self.doctests[nodeid]
        self.emit("test", id=nodeid, **fields)


def run_pytest(config, emit):
    import pytest

    return int(pytest.main(config["args"], plugins=[Plugin(emit, set(config["done"]))]))


def tests_of(suite):
    import unittest

    if isinstance(suite, unittest.TestSuite):
        for part in suite:
            yield from tests_of(part)
    else:
        yield suite


def import_file(path):
    """Imports a module by the name it has in its package, as unittest and pytest do."""
    import importlib

    folder, name = os.path.split(os.path.abspath(path))
    names = [] if name == "__init__.py" else [name[: -len(".py")]]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        names.insert(0, name)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = ".".join(names)
    module = sys.modules.get(name)
    there = getattr(module, "__file__", None)
    if there and os.path.abspath(there) != os.path.abspath(path):
        del sys.modules[name]
    return importlib.import_module(name)


def run_unittest(config, emit):
    import unittest

    loader = unittest.TestLoader()

    class Broken(unittest.TestCase):
        """Stands for what could not be imported."""

        def __init__(self, name, error):
            super().__init__("runTest")
            self.name, self.error = name, error

        def id(self):
            return self.name

        __str__ = id

        def runTest(self):
            raise self.error

    def package(module):
        """The modules of a package of tests, as setuptools' `test_suite` means them."""
        import pkgutil

        yield module
        for _, name, _ in pkgutil.walk_packages(
            getattr(module, "__path__", []), module.__name__ + "."
        ):
            yield __import__(name, fromlist=["_"])

    def module_tests(module):
        # What the module itself puts together comes first: it may give its tests what they need.
        for name in ("additional_tests", "test_suite", "suite"):
            make = getattr(module, name, None)
            if callable(make) and not isinstance(make, type):
                try:
                    yield make()
                except TypeError:
                    pass
        yield loader.loadTestsFromModule(module)

    def suites():
        for name in config["names"]:
            try:
                module = __import__(name, fromlist=["_"])
            except ImportError:
                yield loader.loadTestsFromName(name)
                continue
            for part in package(module):
                yield from module_tests(part)
        for path in config["files"]:
            try:
                module = import_file(path)
            except unittest.SkipTest:
                continue
            except Exception as error:
                yield Broken(os.path.relpath(path), error)
                continue
            yield from module_tests(module)

    seen, suite = set(config["done"]), unittest.TestSuite()
    for part in suites():
        for test in tests_of(part):
            if test.id() not in seen:
                seen.add(test.id())
                suite.addTest(test)

    class Results(unittest.TextTestResult):
        result, current, start = None, None, 0.0

        def startTest(self, test):
            super().startTest(test)
            self.current, self.result, self.start = test, Result(), time.perf_counter()
            emit("start", id=test.id())

        def stopTest(self, test):
            self.result.seconds = time.perf_counter() - self.start
            emit("test", id=test.id(), **self.result.fields())
            self.current = self.result = None
            super().stopTest(test)

        def note(self, test, outcome, message=None, error=None):
            text = None
            if error is not None:
                text = self._exc_info_to_string(error, test)
                message = first_line("%s: %s" % (error[0].__name__, error[1]))
            if self.result is not None:
                return self.result.add(outcome, message, text)
            # setUpClass and the like have no test of their own.
            result = Result()
            result.add(outcome, message, text)
            emit("test", id=test.id(), **result.fields())

        def addError(self, test, error):
            super().addError(test, error)
            self.note(test, "error", error=error)

        def addFailure(self, test, error):
            super().addFailure(test, error)
            self.note(test, "failed", error=error)

        def addSubTest(self, test, subtest, error):
            super().addSubTest(test, subtest, error)
            if error is not None:
                failed = issubclass(error[0], test.failureException)
                self.note(test, "failed" if failed else "error", error=error)

        def addSkip(self, test, reason):
            super().addSkip(test, reason)
            self.note(test, "skipped", reason)

        def addExpectedFailure(self, test, error):
            super().addExpectedFailure(test, error)
            self.note(test, "xfailed", first_line(error[1]))

        def addUnexpectedSuccess(self, test):
            super().addUnexpectedSuccess(test)
            self.note(test, "failed", "unexpected success")

    if not suite.countTestCases():
        return 5
    # A test that stands in for sys.stdout and sys.stderr does not take the runner's away.
    runner = unittest.TextTestRunner(stream=sys.stderr, resultclass=Results)
    return 0 if runner.run(suite).wasSuccessful() else 1


def without_fences(text):
    """Markdown's fences are no output that is expected; lines keep their numbers."""
    lines = text.split("\n")
    return "\n".join("" if line.lstrip().startswith(("```", "~~~")) else line for line in lines)


def run_doctest(config, emit):
    import doctest

    flags = 0
    for name in config["flags"]:
        flags |= doctest.OPTIONFLAGS_BY_NAME.get(name, 0)
    parser = doctest.DocTestParser()
    done, failed, count = set(config["done"]), 0, 0

    def cases():
        for path in config["files"]:
            try:
                module = import_file(path)
            except Exception as error:
                yield path, None, None, error
                continue
            for test in doctest.DocTestFinder(exclude_empty=True).find(module):
                if test.examples:
                    yield path, test.name, test, None
        for path in config["texts"]:
            with io.open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
            if path.endswith(".md"):
                text = without_fences(text)
            name = os.path.basename(path)
            try:
                test = parser.get_doctest(text, {"__name__": "__main__"}, name, path, 0)
            except ValueError as error:
                yield path, name, None, error
                continue
            if test.examples:
                yield path, name, test, None

    for path, name, test, error in cases():
        shown = os.path.relpath(path)
        identity = shown if name is None else "%s::%s" % (shown, name)
        if identity in done:
            continue
        count += 1
        result, start, out = Result(), time.perf_counter(), io.StringIO()
        emit("start", id=identity)
        if error is not None:
            result.add("error", first_line("%s: %s" % (type(error).__name__, error)))
            out.write("%s\n" % error)
        else:
            runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
            runner.run(test, out=out.write)
            if runner.failures:
                line = first_line(out.getvalue().replace("*" * 70, ""))
                result.add("failed", line, out.getvalue())
            elif all(example.options.get(doctest.SKIP) for example in test.examples):
                result.add("skipped", "all of it is skipped")
        result.seconds = time.perf_counter() - start
        fields = result.fields()
        fields["file"] = shown
        if test is not None and test.lineno is not None:
            fields["line"] = test.lineno + 1
        emit("test", id=identity, **fields)
        if result.outcome in ("failed", "error"):
            failed += 1
            sys.stderr.write(out.getvalue())
    sys.stderr.write("%d doctests, %d failed\n" % (count, failed))
    return 5 if not count else 1 if failed else 0


RUNNERS = {
    "pytest": run_pytest,
    "unittest": run_unittest,
    "suite": run_unittest,
    "doctest": run_doctest,
}


def main():
    with open(sys.argv[1], "rb") as file:
        config = json.loads(file.read().decode("utf-8"))
    # The folder of this file is first on the path; `python -m pytest` has the project's there.
    sys.path[0] = os.getcwd()
    sys.argv[:] = [config["runner"]] + config["args"]
    emit = Events(config["events"])
    try:
        status = RUNNERS[config["runner"]](config, emit)
    finally:
        sys.stdout.flush()
    emit("end", status=status)
    return status


if __name__ == "__main__":
    sys.exit(main())
