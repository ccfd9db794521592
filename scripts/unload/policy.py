"""copymart policy: the least privileges for an unload to a bucket, as JSON for the AWS CLI."""

import json
import re
from enum import StrEnum
from typing import Annotated, Any

import typer

from scripts.console import WHAT, WHERE_TO, WHO, error_console
from scripts.errors import UserError
from scripts.s3 import IAM_NAME, ROLE_ARN
from scripts.unload.datasets import DATASETS

Document = dict[str, Any]

# The next run aborts an upload that a killed run left; this is for when no run follows.
ABORT_UPLOADS_AFTER_DAYS = 3
# In a bucket with versions, what an unload replaced can be fetched back for this long.
KEEP_OLD_VERSIONS_DAYS = 7

# "S3 User Guide: general purpose bucket naming rules": the shape, then what is reserved.
_BUCKET = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_RESERVED_STARTS = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_ENDS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
# *, ? and $ would be patterns in a policy; the rest is what S3 calls safe, and what Hive keys use.
_PREFIX = re.compile(r"[A-Za-z0-9!_.'()/=+@:, -]+")
_PRINCIPAL = re.compile(
    rf"\d{{12}}|arn:(aws|aws-cn|aws-us-gov):iam::\d{{12}}:(root|(user|role)/{IAM_NAME})",
    re.ASCII,
)
_KEY = re.compile(r"arn:(aws|aws-cn|aws-us-gov):kms:[a-z0-9-]+:\d{12}:key/[0-9a-z-]+")
_EXTERNAL_ID = re.compile(r"[\w+=,.@:/-]{2,1224}", re.ASCII)


class Part(StrEnum):
    """One document, for one call of the AWS CLI."""

    BUCKET_POLICY = "bucket-policy"
    TRUST = "trust"
    PERMISSIONS = "permissions"
    LIFECYCLE = "lifecycle"
    KMS_GRANT = "kms-grant"


EXAMPLES = """
copymart policy --bucket acme-data --prefix export \\
    --role-arn arn:aws:iam::123456789012:role/unloader
"""


def policy(
    bucket: Annotated[str, typer.Option(help="Bucket of the unload.", rich_help_panel=WHERE_TO)],
    prefix: Annotated[
        str,
        typer.Option(help="Prefix in it, as in `unload --to s3://BUCKET/PREFIX`.", rich_help_panel=WHERE_TO),
    ],
    role_arn: Annotated[
        str, typer.Option(help="Role that unloads, as in `unload --role-arn`.", rich_help_panel=WHO)
    ],
    external_id: Annotated[
        str | None,
        typer.Option(help="External id that is required to assume the role.", rich_help_panel=WHO),
    ] = None,
    retention_days: Annotated[
        int | None,
        typer.Option(
            help="Delete the files of hours and days this many days after they were written.",
            min=1,
            max=36_500,
            show_default="keep them",
            rich_help_panel=WHAT,
        ),
    ] = None,
    kms_key_arn: Annotated[
        str | None,
        typer.Option(
            help="KMS key that encrypts the bucket, as in `unload --kms-key-id`.", rich_help_panel=WHERE_TO
        ),
    ] = None,
    principal: Annotated[
        list[str] | None,
        typer.Option(
            help="Who may assume the role: an account number or the ARN of a user or role; may be repeated.",
            show_default="the role's own account",
            rich_help_panel=WHO,
        ),
    ] = None,
    acl: Annotated[
        bool,
        typer.Option(
            "--acl",
            help="Also allow what `unload --acl bucket-owner-full-control` needs.",
            rich_help_panel=WHAT,
        ),
    ] = False,
    part: Annotated[
        Part | None,
        typer.Option(
            help="Print only this document.", show_default="all, in one JSON object", rich_help_panel=WHAT
        ),
    ] = None,
) -> None:
    """Print the least privileges for an unload to s3://BUCKET/PREFIX, as JSON for the AWS CLI.

    Print each part to a file and give that to the AWS CLI. The owner of the bucket runs

    ```text
    copymart policy ... --part bucket-policy > bucket-policy.json
    aws s3api put-bucket-policy --bucket BUCKET \\
        --policy file://bucket-policy.json
    copymart policy ... --part lifecycle > lifecycle.json
    aws s3api put-bucket-lifecycle-configuration --bucket BUCKET \\
        --lifecycle-configuration file://lifecycle.json
    ```

    and the owner of the role, in its account,

    ```text
    copymart policy ... --part trust > trust.json
    aws iam create-role --role-name ROLE \\
        --assume-role-policy-document file://trust.json
    copymart policy ... --part permissions > permissions.json
    aws iam put-role-policy --role-name ROLE --policy-name copymart-unload \\
        --policy-document file://permissions.json
    ```

    The role must exist before a bucket policy may name it. Both s3api commands replace what the bucket has:
    if `aws s3api get-bucket-policy` or `get-bucket-lifecycle-configuration` shows something, add these
    statements and rules to it. With `--kms-key-arn` the owner of the key runs

    ```text
    copymart policy ... --part kms-grant > kms-grant.json
    aws kms create-grant --cli-input-json file://kms-grant.json
    ```

    \f
    Raises:
        UserError: an argument does not have the form that AWS demands.
    """
    partition, account = _checked(bucket, prefix, role_arn, external_id, kms_key_arn)
    place = prefix.rstrip("/")
    principals = [_principal(each) for each in principal or [account]]
    documents: dict[Part, Document] = {
        Part.BUCKET_POLICY: bucket_policy(partition, bucket, place, role_arn, acl),
        Part.TRUST: trust(partition, principals, external_id),
        Part.PERMISSIONS: permissions(partition, bucket, place, kms_key_arn, acl),
        Part.LIFECYCLE: lifecycle(place, retention_days),
    }
    if kms_key_arn:
        documents[Part.KMS_GRANT] = kms_grant(kms_key_arn, role_arn)
    if part and part not in documents:
        raise UserError(f"--part {part} needs --kms-key-arn")
    if part in (None, Part.TRUST) and not external_id and any(account not in each for each in principals):
        error_console.print(
            "note: another account may assume the role without an external id; agree on one and give "
            "--external-id",
            soft_wrap=True,
        )
    # Not through the console, which would wrap long lines.
    print(json.dumps(documents[part] if part else documents, indent=2))


def bucket_policy(partition: str, bucket: str, prefix: str, role_arn: str, acl: bool) -> Document:
    """Return the bucket's policy: what the role may do, and that all access uses TLS."""
    arn = f"arn:{partition}:s3:::{bucket}"
    only_tls = {
        "Sid": "CopymartOnlyTls",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/{prefix}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    allowed = [
        {**statement, "Principal": {"AWS": role_arn}}
        for statement in _statements(partition, bucket, prefix, acl)
    ]
    return _policy([*allowed, only_tls])


def permissions(partition: str, bucket: str, prefix: str, kms_key_arn: str | None, acl: bool) -> Document:
    """Return the role's own policy; across accounts S3 demands both this and the bucket's."""
    statements = _statements(partition, bucket, prefix, acl)
    if kms_key_arn:
        statements.append(
            {
                "Sid": "CopymartKey",
                "Effect": "Allow",
                # S3 decrypts a part's key when it completes a multipart upload.
                "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                "Resource": kms_key_arn,
                "Condition": {"StringLike": {"kms:ViaService": "s3.*.amazonaws.com*"}},
            }
        )
    return _policy(statements)


def trust(partition: str, principals: list[str], external_id: str | None) -> Document:
    """Return who may assume the role, and the external id they must give."""
    arns = [each if ":" in each else f"arn:{partition}:iam::{each}:root" for each in principals]
    statement: Document = {
        "Sid": "CopymartAssume",
        "Effect": "Allow",
        "Principal": {"AWS": arns},
        "Action": "sts:AssumeRole",
    }
    if external_id:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    return _policy([statement])


def lifecycle(prefix: str, retention_days: int | None) -> Document:
    """Return the bucket's lifecycle rules.

    Only files of hours and days expire. A dataset of one file is not rewritten while it stays the same, and
    would expire while it is still valid; so would the manifest and the lock.
    """
    clean_up: Document = {
        "ID": "copymart-clean-up",
        "Status": "Enabled",
        "Filter": {"Prefix": f"{prefix}/"},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_AFTER_DAYS},
    }
    if retention_days is None:
        return {"Rules": [clean_up]}
    # If the bucket keeps versions, an expired object is only hidden until its version expires too.
    clean_up["NoncurrentVersionExpiration"] = {"NoncurrentDays": KEEP_OLD_VERSIONS_DAYS}
    clean_up["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    rules = [
        {
            "ID": f"copymart-retention-{name}",
            "Status": "Enabled",
            # a year's folder: landing accepts only times of 2000 to 2099
            "Filter": {"Prefix": f"{prefix}/{name}/2"},
            "Expiration": {"Days": retention_days},
        }
        for name, dataset in DATASETS.items()
        if dataset.period
    ]
    return {"Rules": [clean_up, *rules]}


def kms_grant(kms_key_arn: str, role_arn: str) -> Document:
    """Return the arguments of kms:CreateGrant, which adds to a key's policy and cannot lock out its owner."""
    return {
        "KeyId": kms_key_arn,
        "GranteePrincipal": role_arn,
        "Operations": ["GenerateDataKey", "Decrypt"],
        "Name": "copymart-unload",
    }


def _statements(partition: str, bucket: str, prefix: str, acl: bool) -> list[Document]:
    arn = f"arn:{partition}:s3:::{bucket}"
    objects = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        *(["s3:PutObjectAcl"] if acl else []),
    ]
    return [
        {
            "Sid": "CopymartList",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}/*"}},
        },
        {
            "Sid": "CopymartListUploads",
            "Effect": "Allow",
            # Service Authorization Reference: this action has no s3:prefix condition.
            "Action": "s3:ListBucketMultipartUploads",
            "Resource": arn,
        },
        {"Sid": "CopymartObjects", "Effect": "Allow", "Action": objects, "Resource": f"{arn}/{prefix}/*"},
    ]


def _policy(statements: list[Document]) -> Document:
    return {"Version": "2012-10-17", "Statement": statements}


def _checked(
    bucket: str, prefix: str, role_arn: str, external_id: str | None, kms_key_arn: str | None
) -> tuple[str, str]:
    """Check the form of every argument; return the partition and account of the role."""
    if (
        not _BUCKET.fullmatch(bucket)
        or bucket.startswith(_RESERVED_STARTS)
        or bucket.endswith(_RESERVED_ENDS)
    ):
        raise UserError(
            f"--bucket {bucket} is no bucket name: 3 to 63 lower-case letters, digits, dots and hyphens, "
            "without s3:// and without a path"
        )
    if prefix.startswith("/"):
        raise UserError(f"--prefix {prefix}: leave out the slash at the start, which would name a folder ''")
    _check_prefix(prefix)
    role = ROLE_ARN.fullmatch(role_arn)
    if ":assumed-role/" in role_arn:
        raise UserError(
            f"--role-arn {role_arn} is a session of a role; give the role: arn:aws:iam::ACCOUNT:role/NAME"
        )
    if not role:
        raise UserError(f"--role-arn {role_arn} is no role: write arn:aws:iam::123456789012:role/NAME")
    if external_id is not None and not _EXTERNAL_ID.fullmatch(external_id):
        raise UserError("--external-id must have 2 to 1224 letters, digits and signs out of +=,.@:/-_")
    if kms_key_arn is not None and not _KEY.fullmatch(kms_key_arn):
        raise UserError(
            f"--kms-key-arn {kms_key_arn} is no key: write arn:aws:kms:REGION:123456789012:key/ID; a policy "
            "takes no alias (`aws kms describe-key --key-id alias/NAME` shows the ARN)"
        )
    return role[1], role[2]


def _check_prefix(prefix: str) -> None:
    place = prefix.rstrip("/")
    if not place:
        raise UserError("--prefix is empty: a role that may write everywhere in a bucket is never the least")
    odd = sorted(set(_PREFIX.sub("", place)))
    if odd:
        raise UserError(
            f"--prefix {prefix}: {' '.join(odd)} cannot stand in it; a policy reads *, ? and $ as patterns"
        )
    if any(folder in ("", ".", "..") for folder in place.split("/")):
        raise UserError(f"--prefix {prefix} has an empty folder, or one named . or ..")


def _principal(principal: str) -> str:
    if not _PRINCIPAL.fullmatch(principal):
        raise UserError(
            f"--principal {principal}: write an account number of 12 digits, arn:aws:iam::ACCOUNT:user/NAME "
            "or arn:aws:iam::ACCOUNT:role/NAME"
        )
    return principal
