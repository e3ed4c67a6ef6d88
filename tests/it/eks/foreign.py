"""Drives every operation of the stand-in with boto3, and checks what boto3 makes of the answers.

Endpoints, region and credentials come from the environment.
"""

import base64
import json
import urllib.error
import urllib.request
from datetime import datetime

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

CONFIG = Config(retries={"max_attempts": 0})
OWN = "111122223333"
OTHER = "444455556666"
CLUSTER = "test"
DEV = f"arn:aws:iam::{OWN}:role/teams/a/Dev"
ANN = f"arn:aws:iam::{OTHER}:user/people/ann"
VIEW = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def equal(found, expected):
    """Fails where the two differ."""
    if found != expected:
        raise AssertionError(f"\n   found {found!r}\nexpected {expected!r}")


def refused(code, status, call, **parameters):
    """The error of a call that must be refused, as boto3 reads it."""
    try:
        answer = call(**parameters)
    except ClientError as error:
        response = error.response
        equal((response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]), (code, status))
        return response
    raise AssertionError(f"not refused: {answer}")


def modes(eks):
    """CONFIG_MAP to API_AND_CONFIG_MAP."""
    equal(eks.list_clusters()["clusters"], [CLUSTER])
    cluster = eks.describe_cluster(name=CLUSTER)["cluster"]
    equal(cluster["accessConfig"], {"authenticationMode": "CONFIG_MAP"})
    equal(cluster["certificateAuthority"]["data"], "UEVN")
    equal(type(cluster["createdAt"]), datetime)
    response = refused("InvalidRequestException", 400, eks.list_access_entries, clusterName=CLUSTER)
    equal(
        response["Error"]["Message"],
        "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.",
    )
    response = refused("ResourceNotFoundException", 404, eks.describe_cluster, name="none")
    equal(response["message"], "No cluster found for name: none.")
    equal("clusterName" in response, False)
    response = refused("ResourceNotFoundException", 404, eks.list_updates, name="none")
    equal(response["clusterName"], "none")

    mode = {"authenticationMode": "API_AND_CONFIG_MAP"}
    update = eks.update_cluster_config(name=CLUSTER, accessConfig=mode)["update"]
    equal(update["params"], [{"type": "AuthenticationMode", "value": '"API_AND_CONFIG_MAP"'}])
    described = eks.describe_update(name=CLUSTER, updateId=update["id"])["update"]
    equal(described["status"], "Successful")
    equal(eks.list_updates(name=CLUSTER)["updateIds"], [update["id"]])
    refused("InvalidStateException", 400, eks.cancel_update, name=CLUSTER, updateId=update["id"])
    waiter = eks.get_waiter("cluster_active")
    waiter.wait(name=CLUSTER)
    made = set(eks.list_access_entries(clusterName=CLUSTER)["accessEntries"])
    equal(made, {f"arn:aws:iam::{OWN}:role/Creator", f"arn:aws:iam::{OWN}:role/node"})


def features(eks):
    """What EKS makes entries for."""
    equal(eks.list_nodegroups(clusterName=CLUSTER)["nodegroups"], ["node"])
    group = eks.describe_nodegroup(clusterName=CLUSTER, nodegroupName="node")["nodegroup"]
    equal(group["nodeRole"], f"arn:aws:iam::{OWN}:role/node")
    equal(eks.list_fargate_profiles(clusterName=CLUSTER)["fargateProfileNames"], [])
    missing = {"clusterName": CLUSTER, "fargateProfileName": "none"}
    refused("ResourceNotFoundException", 404, eks.describe_fargate_profile, **missing)
    equal(eks.list_identity_provider_configs(clusterName=CLUSTER)["identityProviderConfigs"], [])
    listed = eks.list_capabilities(clusterName=CLUSTER)["capabilities"]
    equal([it["capabilityName"] for it in listed], ["kro"])
    capability = eks.describe_capability(clusterName=CLUSTER, capabilityName="kro")["capability"]
    equal((capability["type"], capability["roleArn"]), ("KRO", f"arn:aws:iam::{OWN}:role/node"))


def entries(eks):
    """An entry from its creation to its end."""
    names = {"clusterName": CLUSTER, "principalArn": DEV}
    made = eks.create_access_entry(
        **names, kubernetesGroups=["b", "a"], username="dev:{{SessionName}}", tags={"k": "v"}, type="STANDARD"
    )["accessEntry"]
    described = eks.describe_access_entry(**names)["accessEntry"]
    equal(described, made)
    equal(described["kubernetesGroups"], ["b", "a"])
    response = refused("ResourceInUseException", 409, eks.create_access_entry, **names)
    equal(
        response["Error"]["Message"], "The specified access entry resource is already in use on this cluster."
    )
    updated = eks.update_access_entry(**names, kubernetesGroups=["c"])["accessEntry"]
    equal(updated["username"], f"arn:aws:sts::{OWN}:assumed-role/Dev/{{{{SessionName}}}}")

    arn = made["accessEntryArn"]
    eks.tag_resource(resourceArn=arn, tags={"l": "m"})
    eks.untag_resource(resourceArn=arn, tagKeys=["k"])
    equal(eks.list_tags_for_resource(resourceArn=arn)["tags"], {"l": "m"})
    refused("NotFoundException", 404, eks.tag_resource, resourceArn=arn + "x", tags={"l": "m"})

    scope = {"type": "namespace", "namespaces": ["a", "dev-*"]}
    eks.associate_access_policy(**names, policyArn=VIEW, accessScope=scope)
    [policy] = eks.list_associated_access_policies(**names)["associatedAccessPolicies"]
    equal((policy["policyArn"], policy["accessScope"]), (VIEW, scope))
    found = eks.list_access_entries(clusterName=CLUSTER, associatedPolicyArn=VIEW)["accessEntries"]
    equal(found, [DEV])
    wrong = {"type": "namespace", "namespaces": []}
    response = refused(
        "InvalidParameterException", 400, eks.associate_access_policy, **names, policyArn=VIEW, accessScope=wrong
    )
    equal(response["message"], "At least 1 namespace must be provided if the type is set as namespace")
    eks.disassociate_access_policy(**names, policyArn=VIEW)
    equal(eks.list_associated_access_policies(**names)["associatedAccessPolicies"], [])
    equal(eks.create_access_entry(clusterName=CLUSTER, principalArn=ANN)["accessEntry"]["username"], ANN)
    eks.delete_access_entry(**names)
    refused("ResourceNotFoundException", 404, eks.describe_access_entry, **names)
    refused(
        "InvalidParameterException",
        400,
        eks.describe_access_entry,
        clusterName=CLUSTER,
        principalArn=f"arn:aws:sts::{OWN}:assumed-role/Dev/ann",
    )


def pages(eks, iam):
    """Paginators find all pages."""
    policies = eks.get_paginator("list_access_policies").paginate(PaginationConfig={"PageSize": 10})
    names = [policy["name"] for page in policies for policy in page["accessPolicies"]]
    equal(len(names), 33)
    for number in range(120):
        eks.create_access_entry(clusterName=CLUSTER, principalArn=f"arn:aws:iam::{OWN}:role/many/r{number}")
    listed = eks.get_paginator("list_access_entries").paginate(clusterName=CLUSTER).build_full_result()
    equal(len(set(listed["accessEntries"])), len(listed["accessEntries"]))
    equal(len(listed["accessEntries"]), 123)
    roles = iam.get_paginator("list_roles").paginate(PathPrefix="/many/").build_full_result()["Roles"]
    equal({role["RoleName"] for role in roles}, {f"r{number}" for number in range(120)})


def iam_and_sts(iam, sts):
    """Principals, here and in another account."""
    role = iam.get_role(RoleName="Dev")["Role"]
    equal((role["Arn"], role["Path"]), (DEV, "/teams/a/"))
    equal(type(role["CreateDate"]), datetime)
    equal(role["AssumeRolePolicyDocument"], {"Version": "2012-10-17", "Statement": []})
    response = refused("NoSuchEntity", 404, iam.get_user, UserName="none")
    equal(response["Error"]["Message"], "The user with name none cannot be found.")
    equal(iam.list_users()["Users"], [])
    equal(sts.get_caller_identity()["Account"], OWN)
    refused("AccessDenied", 403, sts.assume_role, RoleArn=DEV, RoleSessionName="me")
    reader = f"arn:aws:iam::{OTHER}:role/reader"
    tags = [{"Key": "a", "Value": "b c"}]
    assumed = sts.assume_role(RoleArn=reader, RoleSessionName="me", Tags=tags)
    equal(assumed["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{OTHER}:assumed-role/reader/me")
    credentials = assumed["Credentials"]
    there = boto3.client(
        "iam",
        config=CONFIG,
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
    )
    equal([user["Arn"] for user in there.list_users()["Users"]], [ANN])


def workloads(sts):
    """A ServiceAccount's token stands for its role, by its claims, and for no other."""
    mapper = f"arn:aws:iam::{OWN}:role/identity-mapper"
    subject = "system:serviceaccount:identity-mapper:identity-mapper"

    def token(**changed):
        claims = {"aud": ["sts.amazonaws.com"], "exp": 4102444800, "iss": "https://oidc.example", "sub": subject}
        payload = base64.urlsafe_b64encode(json.dumps(claims | changed).encode()).decode().rstrip("=")
        return f"e30.{payload}.e30"

    assume = sts.assume_role_with_web_identity
    assumed = assume(RoleArn=mapper, RoleSessionName="me", WebIdentityToken=token())
    equal(assumed["AssumedRoleUser"]["Arn"], f"arn:aws:sts::{OWN}:assumed-role/identity-mapper/me")
    equal((assumed["SubjectFromWebIdentityToken"], assumed["Provider"]), (subject, "https://oidc.example"))
    for arn, other in [
        (DEV, token()),
        (mapper, token(aud=["pods.eks.amazonaws.com"])),
        (mapper, token(sub="system:serviceaccount:default:default")),
        (mapper, token(exp=1)),
        (mapper, "no token"),
    ]:
        refused("AccessDenied", 403, assume, RoleArn=arn, RoleSessionName="me", WebIdentityToken=other)


def authorities(eks):
    """One is appended and activated, and the old one deleted."""
    [old] = eks.list_certificate_authorities(clusterName=CLUSTER)["certificateAuthorities"]
    equal((old["signingStatus"], old["distributionStatus"]), ("IN_USE", "COMPLETE"))
    made = eks.create_certificate_authority(clusterName=CLUSTER)
    equal(made["update"]["type"], "CertificateAuthorityUpdate")
    new = made["certificateAuthority"]["id"]
    one = {"clusterName": CLUSTER, "certificateAuthorityId": new}
    equal(eks.describe_certificate_authority(**one)["certificateAuthority"]["createdBy"], "CUSTOMER")
    eks.activate_certificate_authority(**one)
    active = eks.describe_cluster(name=CLUSTER)["cluster"]["certificateAuthority"]["active"]
    equal(active, {"id": new, "activatedBy": "CUSTOMER"})
    eks.delete_certificate_authority(clusterName=CLUSTER, certificateAuthorityId=old["id"])
    [left] = eks.list_certificate_authorities(clusterName=CLUSTER)["certificateAuthorities"]
    equal((left["id"], type(left["activatedAt"])), (new, datetime))


def tokens():
    """What `aws eks get-token` makes, signed as awscli signs it (awscli/customizations/eks/get_token.py), is redeemed at STS."""
    sts = boto3.client("sts", config=CONFIG)
    held = {}

    def take(params, context, **_):
        held["cluster"] = params.pop("K8sAwsId", None)

    def inject(request, **_):
        request.headers["x-k8s-aws-id"] = held["cluster"]

    sts.meta.events.register("provide-client-params.sts.GetCallerIdentity", take)
    sts.meta.events.register("before-sign.sts.GetCallerIdentity", inject)
    url = sts.generate_presigned_url("get_caller_identity", Params={"K8sAwsId": CLUSTER}, ExpiresIn=60, HttpMethod="GET")
    equal("X-Amz-SignedHeaders=host%3Bx-k8s-aws-id" in url, True)
    request = urllib.request.Request(url, headers={"x-k8s-aws-id": CLUSTER})
    with urllib.request.urlopen(request) as answer:
        equal((answer.status, f"<Account>{OWN}</Account>" in answer.read().decode()), (200, True))
    try:
        urllib.request.urlopen(url)
    except urllib.error.HTTPError as error:
        equal((error.code, "SignatureDoesNotMatch" in error.read().decode()), (403, True))
    else:
        raise AssertionError("taken without a header that was signed")


def queue(sqs):
    """The events of all this have arrived."""
    url = sqs.get_queue_url(QueueName="changes")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    equal(attributes["QueueArn"], f"arn:aws:sqs:eu-west-1:{OWN}:changes")
    names = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        names += [json.loads(message["Body"])["detail"]["eventName"] for message in messages]
        handles = [
            {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)
        ]
        equal(len(sqs.delete_message_batch(QueueUrl=url, Entries=handles)["Successful"]), len(messages))
    equal(names[:3], ["UpdateClusterConfig", "CreateAccessEntry", "UpdateAccessEntry"])
    sqs.send_message(QueueUrl=url, MessageBody="text")
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    response = refused(
        "AWS.SimpleQueueService.NonExistentQueue", 400, sqs.receive_message, QueueUrl=url.replace("changes", "none")
    )
    equal(response["Error"]["Message"], "The specified queue does not exist.")


def main():
    eks, iam, sqs, sts = (boto3.client(name, config=CONFIG) for name in ("eks", "iam", "sqs", "sts"))
    modes(eks)
    features(eks)
    entries(eks)
    pages(eks, iam)
    iam_and_sts(iam, sts)
    workloads(sts)
    authorities(eks)
    tokens()
    queue(sqs)


if __name__ == "__main__":
    main()
