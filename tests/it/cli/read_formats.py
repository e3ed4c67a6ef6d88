"""Reads what `identity-mapper lint` prints for other programs as those programs do.

    read_formats.py sarif SCHEMA <FILE      validates it, and prints a line for each result
    read_formats.py junit <FILE             parses it, and prints a line for each case
"""

import json
import sys

import fastjsonschema
import junitparser


def sarif(schema):
    with open(schema, encoding="utf-8") as file:
        validate = fastjsonschema.compile(json.load(file))
    log = json.load(sys.stdin)
    validate(log)
    run = log["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        rule = rules[result["ruleIndex"]]
        assert rule["id"] == result["ruleId"], result
        assert rule["help"]["text"].startswith(rule["id"] + ": "), rule
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"], rule
        place = result["locations"][0]["physicalLocation"]
        region = place["region"]
        end = f"-{region['endLine']}:{region['endColumn']}" if "endLine" in region else ""
        message = result["message"]["text"].splitlines()[0]
        print(
            result["level"],
            result["ruleId"],
            f"{place['artifactLocation']['uri']}:{region['startLine']}:{region['startColumn']}{end}",
            message,
        )


def junit():
    suites = junitparser.JUnitXml.fromstring(sys.stdin.buffer.read())
    print(f"{suites.tests} tests, {suites.failures} failures")
    for suite in suites:
        print(f"{suite.name!r}: {suite.tests} tests, {suite.failures} failures")
        for case in suite:
            results = [f"{type(it).__name__} {it.type}: {it.message}" for it in case.result]
            out = [case.system_out.splitlines()[0]] if case.system_out else []
            print(f"  {case.name!r}", *results, *out)


if __name__ == "__main__":
    {"sarif": sarif, "junit": junit}[sys.argv[1]](*sys.argv[2:])
