"""Prints what a setup.py says of its tests, without running it: setup_py.py < setup.py"""

import ast
import json
import sys

wanted = {"tests_require": [], "test_suite": None}
try:
    tree = ast.parse(sys.stdin.buffer.read())
except (SyntaxError, ValueError):
    tree = ast.parse("")
names = {}


def value(node):
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = value(node.left), value(node.right)
        return left + right if type(left) is type(right) is list else left or right
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


for node in ast.walk(tree):
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        names[node.targets[0].id] = value(node.value)
for node in ast.walk(tree):
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg in wanted:
                wanted[keyword.arg] = value(keyword.value) or wanted[keyword.arg]
requires = wanted["tests_require"]
if isinstance(requires, str):
    requires = requires.splitlines()
wanted["tests_require"] = [text for text in requires or [] if isinstance(text, str)]
if not isinstance(wanted["test_suite"], str):
    wanted["test_suite"] = None
print(json.dumps(wanted))
