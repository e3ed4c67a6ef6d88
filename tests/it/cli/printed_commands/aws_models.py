"""Checks commands of the AWS CLI against AWS's own service models: that the operation exists, that each parameter does, that values have
the right shape, and that nothing that is required is missing.

Standard input has one command a line. Each that is wrong is printed with the reason.
"""

import json
import re
import shlex
import sys

import botocore.session
import jmespath
from botocore import xform_name
from botocore.validate import ParamValidator

# What the CLI takes for every command, and whether a value follows.
GLOBAL = {"query": True, "output": True, "region": True, "profile": True, "no-cli-pager": False}
# Commands that the CLI has and no service.
OWN = {
    ("eks", "get-token"): {"cluster-name", "cluster-id", "role-arn"},
    ("eks", "update-kubeconfig"): {"name", "role-arn", "kubeconfig", "alias", "dry-run"},
}

SESSION = botocore.session.Session()


class Wrong(Exception):
    """What is wrong with a command."""


def value(shape, words):
    """The value of a parameter, of the words behind its flag."""
    text = " ".join(words)
    if shape.type_name == "list":
        if words and words[0].startswith(("[", "{")):
            return json.loads(text)
        return [value(shape.member, [word]) for word in words]
    if shape.type_name in ("structure", "map"):
        if text.startswith("{"):
            return json.loads(text)
        pairs = dict(pair.split("=", 1) for pair in re.split(r",(?=\w+=)", text))
        if shape.type_name == "map":
            return pairs
        unknown = sorted(set(pairs) - set(shape.members))
        if unknown:
            raise Wrong(f"{shape.name} has no {', '.join(unknown)}")
        return {
            name: value(shape.members[name], given.split(",") if shape.members[name].type_name == "list" else [given])
            for name, given in pairs.items()
        }
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name == "boolean":
        return True
    if len(words) != 1:
        raise Wrong(f"one value is expected, not {words}")
    if getattr(shape, "enum", None) and text not in shape.enum:
        raise Wrong(f"{text} is none of {shape.enum}")
    return text


def flags(words):
    """The flags with the words behind them. What follows without one ends the command: it is prose."""
    found = []
    for word in words:
        if word.startswith("--"):
            name, _, given = word[2:].partition("=")
            found.append((name, [given] if given else []))
        elif found:
            found[-1][1].append(word)
        else:
            break
    return found


def check(command):
    words = shlex.split(command)
    service, operation, given = words[1], words[2], flags(words[3:])
    if operation == "wait":
        waiters = SESSION.get_waiter_model(service)
        names = {xform_name(name, "-"): name for name in waiters.waiter_names}
        if words[3] not in names:
            raise Wrong(f"{service} waits for no {words[3]}")
        operation = xform_name(waiters.get_waiter(names[words[3]]).operation, "-")
        given = flags(words[4:])
    names = {name for name, _ in given}
    for name, values in given:
        if name in GLOBAL and len(values) != int(GLOBAL[name]):
            raise Wrong(f"--{name} has the values {values}")
        if name == "query":
            jmespath.compile(values[0])
    own = OWN.get((service, operation))
    if own is not None:
        if names - own - set(GLOBAL):
            raise Wrong(f"no such parameters: {sorted(names - own - set(GLOBAL))}")
        return
    model = SESSION.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if operation not in operations:
        raise Wrong(f"{service} has no {operation}")
    shape = model.operation_model(operations[operation]).input_shape
    members = {xform_name(name, "-"): name for name in shape.members} if shape else {}
    parameters = {}
    for name, values in given:
        if name in GLOBAL:
            continue
        if name not in members:
            raise Wrong(f"{operation} has no --{name}")
        parameters[members[name]] = value(shape.members[members[name]], values)
    # One that is only named has no parameters.
    if parameters:
        report = ParamValidator().validate(parameters, shape)
        if report.has_errors():
            raise Wrong(report.generate_report())


def main():
    for command in sys.stdin.read().splitlines():
        try:
            check(command)
        except Exception as wrong:  # Whatever it is, it is about this command.
            print(f"{command}: {wrong}")


main()
