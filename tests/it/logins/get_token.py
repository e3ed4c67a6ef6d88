"""A token as `aws eks get-token` makes it (awscli, customizations/eks/get_token.py): the signature is botocore's."""

import base64
import sys

import boto3
from botocore.signers import RequestSigner

region, cluster = sys.argv[1:]
session = boto3.session.Session()
service = session.client("sts", region_name=region).meta.service_model.service_id
signer = RequestSigner(service, region, "sts", "v4", session.get_credentials(), session.events)
request = {
    "method": "GET",
    "url": f"https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15",
    "body": {},
    "headers": {"x-k8s-aws-id": cluster},
    "context": {},
}
url = signer.generate_presigned_url(request, region_name=region, expires_in=60, operation_name="")
print("k8s-aws-v1." + base64.urlsafe_b64encode(url.encode()).decode().rstrip("="))
