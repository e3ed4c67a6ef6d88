"""The service models of the stand-in, cut out of botocore's.

    target/testbed/venv/bin/python tests/it/support/eks/model/trim.py            writes eks.json, iam.json, sqs.json, sts.json
    target/testbed/venv/bin/python tests/it/support/eks/model/trim.py --check    says whether they are what botocore has

Kept are the operations below and every shape that they reach; documentation is left out, nothing else is changed.
"""

import json
import sys
from pathlib import Path

import botocore
from botocore.loaders import Loader

HERE = Path(__file__).parent

OPERATIONS = {
    "eks": [
        "ActivateCertificateAuthority",
        "AssociateAccessPolicy",
        "CancelUpdate",
        "CreateAccessEntry",
        "CreateCertificateAuthority",
        "DeleteAccessEntry",
        "DeleteCertificateAuthority",
        "DescribeAccessEntry",
        "DescribeCapability",
        "DescribeCertificateAuthority",
        "DescribeCluster",
        "DescribeFargateProfile",
        "DescribeNodegroup",
        "DescribeUpdate",
        "DisassociateAccessPolicy",
        "ListAccessEntries",
        "ListAccessPolicies",
        "ListAssociatedAccessPolicies",
        "ListCapabilities",
        "ListCertificateAuthorities",
        "ListClusters",
        "ListFargateProfiles",
        "ListIdentityProviderConfigs",
        "ListNodegroups",
        "ListTagsForResource",
        "ListUpdates",
        "TagResource",
        "UntagResource",
        "UpdateAccessEntry",
        "UpdateClusterConfig",
    ],
    "iam": ["GetRole", "GetUser", "ListRoles", "ListUsers"],
    "sqs": [
        "DeleteMessage",
        "DeleteMessageBatch",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ReceiveMessage",
        "SendMessage",
    ],
    "sts": ["AssumeRole", "AssumeRoleWithWebIdentity", "GetCallerIdentity"],
}


def reached(shapes, names):
    """The given shapes and all that they refer to."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        shape = shapes[name]
        members = list(shape.get("members", {}).values())
        members += [shape[part] for part in ("member", "key", "value") if part in shape]
        waiting += [member["shape"] for member in members]
    return found


def bare(value):
    """The value without documentation."""
    if isinstance(value, dict):
        return {
            key: bare(inner)
            for key, inner in value.items()
            if key not in ("documentation", "documentationUrl")
            or isinstance(inner, dict)
        }
    return [bare(inner) for inner in value] if isinstance(value, list) else value


def trimmed(service):
    """The part of a service's model that the stand-in serves."""
    model = Loader().load_service_model(service, "service-2")
    operations = {name: model["operations"][name] for name in OPERATIONS[service]}
    roots = []
    for operation in operations.values():
        roots += [operation[part]["shape"] for part in ("input", "output") if part in operation]
        roots += [error["shape"] for error in operation.get("errors", [])]
    names = sorted(reached(model["shapes"], roots))
    return bare(
        {
            "metadata": model["metadata"],
            "operations": operations,
            "shapes": {name: model["shapes"][name] for name in names},
        }
    )


def rendered(service, cut):
    """One line for each operation and shape."""
    header = (
        f"botocore {botocore.__version__}, botocore/data/{service}/{cut['metadata']['apiVersion']}/service-2.json, "
        "https://github.com/boto/botocore, Apache-2.0: the operations that the stand-in serves, without documentation"
    )
    lines = [f' "_source": {json.dumps(header)}', f' "metadata": {json.dumps(cut["metadata"])}']
    for part in ("operations", "shapes"):
        inner = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in cut[part].items())
        lines.append(f' "{part}": {{\n{inner}\n }}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def difference(service):
    """What the file says otherwise than botocore, one line each."""
    ours = json.loads((HERE / f"{service}.json").read_text())
    theirs = trimmed(service)
    for part in ("operations", "shapes"):
        for name in sorted(ours[part].keys() | theirs[part].keys()):
            if ours[part].get(name) != theirs[part].get(name):
                yield f"{service}.json: {part}.{name} is not botocore {botocore.__version__}'s"


def main():
    if sys.argv[1:] == ["--check"]:
        found = [line for service in OPERATIONS for line in difference(service)]
        print("\n".join(found) or f"the models are botocore {botocore.__version__}'s")
        sys.exit(1 if found else 0)
    for service in OPERATIONS:
        (HERE / f"{service}.json").write_text(rendered(service, trimmed(service)))


if __name__ == "__main__":
    main()
