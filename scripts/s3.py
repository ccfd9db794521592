"""One S3 client for every verb, and S3's errors in words a person can act on."""

import logging
import os
import re
from functools import partial
from textwrap import shorten
from typing import Annotated, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import typer
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError

from scripts import console
from scripts.errors import UserError

RoleArn = Annotated[
    str | None, typer.Option(help="AWS role to assume for `s3://`.", rich_help_panel=console.S3)
]
ExternalId = Annotated[
    str | None, typer.Option(help="External id that the role requires.", rich_help_panel=console.S3)
]
SessionName = Annotated[
    str | None,
    typer.Option(
        help="Session name of the role, which CloudTrail shows.",
        show_default="copymart",
        rich_help_panel=console.S3,
    ),
]
EndpointUrl = Annotated[
    str | None, typer.Option(help="Address of an S3 server other than AWS.", rich_help_panel=console.S3)
]
Region = Annotated[str | None, typer.Option(help="AWS region of the bucket.", rich_help_panel=console.S3)]

FAILURES = (ClientError, BotoCoreError, ResponseParserError, HTTPError)
"""Errors of a request to S3; botocore does not wrap the error of an answer that breaks off."""

# IAM allows every visible character in a path; * and ? would be patterns in a policy
IAM_NAME = r"(?:[\w+=,.@-]+/)*[\w+=,.@-]{1,64}"
"""Regular expression of a user's or role's name in an ARN, with its path."""

ROLE_ARN = re.compile(rf"arn:(aws|aws-cn|aws-us-gov):iam::(\d{{12}}):role/{IAM_NAME}", re.ASCII)
"""An AWS role; its groups are the partition and the account."""

CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=32,
)


def client(
    role_arn: str | None = None,
    external_id: str | None = None,
    endpoint_url: str | None = None,
    region: str | None = None,
    session_name: str | None = None,
) -> Any:
    """Return a boto3 S3 client; with `role_arn` it acts as that role and renews its credentials by itself.

    `session_name` is what CloudTrail shows for the role.

    Raises:
        UserError: `external_id` or `session_name` without `role_arn`, or no credentials to assume the role
            with.
    """
    for option, value in (("--external-id", external_id), ("--session-name", session_name)):
        if value and not role_arn:
            raise UserError(f"{option} belongs to a role: give --role-arn as well")
    session = botocore.session.get_session()
    if region:
        session.set_config_variable("region", region)
    if role_arn:
        # it logs with a stack trace what the error that follows says in a line
        logging.getLogger("botocore.credentials").setLevel(logging.ERROR)
        source = session.get_credentials()
        if source is None:
            raise UserError(f"no AWS credentials to assume {role_arn} with: {_CREDENTIALS_HINT}")
        # A server other than AWS answers STS at the same address as S3.
        own_server = endpoint_url and not (urlsplit(endpoint_url).hostname or "").endswith("amazonaws.com")
        sts_url = endpoint_url if own_server and "AWS_ENDPOINT_URL_STS" not in os.environ else None
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=partial(session.create_client, endpoint_url=sts_url),
            source_credentials=source,
            role_arn=role_arn,
            extra_args={"RoleSessionName": session_name or "copymart"}
            | ({"ExternalId": external_id} if external_id else {}),
        )
        session = botocore.session.get_session()
        if region:
            session.set_config_variable("region", region)
        session._credentials = DeferredRefreshableCredentials(
            method="assume-role", refresh_using=fetcher.fetch_credentials
        )
    try:
        return boto3.Session(botocore_session=session).client("s3", endpoint_url=endpoint_url, config=CONFIG)
    except (BotoCoreError, ValueError) as error:
        raise UserError(f"S3: {explain(error)}") from error


_CREDENTIALS_HINT = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws sso login`"
_CODES = {
    "NoSuchBucket": "the bucket does not exist: check its name and --endpoint-url",
    "NoSuchKey": "the object is gone: run the command again",
    "404": "not found: check the address and --endpoint-url",
    "AccessDenied": "access denied: the credentials need s3:ListBucket and s3:GetObject here; "
    "a bucket in another account may need --role-arn",
    "InvalidAccessKeyId": f"the access key is not known: {_CREDENTIALS_HINT}",
    "SignatureDoesNotMatch": "the secret key does not fit the access key: check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": f"the credentials have expired: {_CREDENTIALS_HINT}",
    "PermanentRedirect": "the bucket is in another region: give --region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: give --region",
    "PreconditionFailed": "the object changed while it was read: run the command again",
    "412": "the object changed while it was read: run the command again",
}


def explain(error: Exception) -> str:
    """Say what a boto3 error means and what to do about it."""
    if isinstance(error, ClientError):
        details = error.response.get("Error", {})
        code = str(details.get("Code", "")).replace("403", "AccessDenied")
        if error.operation_name == "AssumeRole":
            return f"the role cannot be assumed ({code}): check --role-arn, --external-id, its trust policy"
        return _CODES.get(code) or f"{code}: {details.get('Message') or error}"
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return f"no AWS credentials: {_CREDENTIALS_HINT}"
    if isinstance(error, NoRegionError):
        return "no region: give --region"
    if isinstance(error, EndpointConnectionError):
        return f"no connection: {error} Check --endpoint-url and --region"
    if isinstance(error, ConnectionClosedError | HTTPClientError | HTTPError | ResponseParserError):
        return f"the connection broke off ({_in_a_line(error)}): run the command again"
    return _in_a_line(error)


def _in_a_line(error: Exception) -> str:
    """The text of an error, cut to a line, because it may contain a whole answer."""
    return shorten(" ".join(str(error).split()) or type(error).__name__, 300, placeholder=" …")
