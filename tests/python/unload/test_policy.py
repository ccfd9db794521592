"""copymart policy: its documents' shape, what moto makes of them, and what they allow and forbid.

moto enforces actions and resources of a role's policy, and the external id of its trust; it has no policy
simulator and does not read StringLike or Bool conditions. For those `decide` reads the documents as AWS's
page "Policy evaluation logic" says: a Deny that fits wins, then an Allow that fits, then no.
"""

import fnmatch
import itertools
import json
import re
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from scripts.cli import app
from scripts.errors import UserError
from scripts.unload.datasets import DATASETS
from support.project import PROJECT
from support.s3_servers import aws

ROLE = "arn:aws:iam::123456789012:role/unloader"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
BUCKET = "arn:aws:s3:::acme-data"
BASE = {"--bucket": "acme-data", "--prefix": "justai/out", "--role-arn": ROLE}
FULL = {**BASE, "--external-id": "acme-7", "--retention-days": "400", "--kms-key-arn": KEY}
OBJECT_ACTIONS = {
    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
    "s3:AbortMultipartUpload",
}


def run(options: dict[str, str], *more: str) -> Any:
    """Run the verb; return what it prints as JSON, or raise what it raises."""
    result = CliRunner().invoke(app, ["policy", *itertools.chain(*options.items()), *more])
    if result.exception:
        raise result.exception
    return json.loads(result.stdout)


def statements(document: Any) -> dict[str, Any]:
    """Return a policy's statements by Sid."""
    return {statement["Sid"]: statement for statement in document["Statement"]}


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def decide(document: Any, action: str, resource: str, **context: str) -> bool:
    """Tell whether a policy allows an action; `context` has condition keys, with __ for the colon."""
    given = {name.replace("__", ":"): value for name, value in context.items()}

    def holds(operator: str, key: str, wanted: Any) -> bool:
        if key not in given:
            return False
        match operator:
            case "StringLike":
                return any(fnmatch.fnmatchcase(given[key], pattern) for pattern in as_list(wanted))
            case "StringEquals" | "Bool":
                return given[key] in as_list(wanted)
        raise AssertionError(f"a condition that this test cannot read: {operator}")

    def fits(statement: Any) -> bool:
        return (
            any(fnmatch.fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
            and any(fnmatch.fnmatchcase(resource, each) for each in as_list(statement.get("Resource", "*")))
            and all(
                holds(operator, key, wanted)
                for operator, keys in statement.get("Condition", {}).items()
                for key, wanted in keys.items()
            )
        )

    effects = {statement["Effect"] for statement in document["Statement"] if fits(statement)}
    return "Deny" not in effects and "Allow" in effects


def test_the_whole_and_its_parts_are_the_same() -> None:
    whole = run(FULL)
    assert list(whole) == ["bucket-policy", "trust", "permissions", "lifecycle", "kms-grant"]
    for part, document in whole.items():
        assert run(FULL, "--part", part) == document
    assert list(run(BASE)) == ["bucket-policy", "trust", "permissions", "lifecycle"]
    assert run({**BASE, "--prefix": "justai/out/"}) == run(BASE)


@pytest.mark.parametrize("part", ["bucket-policy", "permissions"])
def test_only_what_an_unload_needs_is_allowed(part: str) -> None:
    document = run(FULL, "--part", part)
    assert document["Version"] == "2012-10-17"
    allowed = {name: each for name, each in statements(document).items() if each["Effect"] == "Allow"}
    assert set(allowed["CopymartObjects"]["Action"]) == OBJECT_ACTIONS
    assert allowed["CopymartObjects"]["Resource"] == f"{BUCKET}/justai/out/*"
    assert allowed["CopymartList"]["Action"] == "s3:ListBucket"
    assert allowed["CopymartListUploads"]["Action"] == "s3:ListBucketMultipartUploads"
    everything = {action for each in allowed.values() for action in as_list(each["Action"])}
    listing = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}
    keys = {"kms:GenerateDataKey", "kms:Decrypt"} if part == "permissions" else set()
    assert everything == OBJECT_ACTIONS | listing | keys
    principals = {"AWS": ROLE} if part == "bucket-policy" else None
    assert all(each.get("Principal") == principals for each in allowed.values())
    with_acl = run(FULL, "--part", part, "--acl")
    assert set(statements(with_acl)["CopymartObjects"]["Action"]) == OBJECT_ACTIONS | {"s3:PutObjectAcl"}


@pytest.mark.parametrize("part", ["bucket-policy", "permissions"])
def test_what_the_documents_allow_and_forbid(part: str) -> None:
    document = run(FULL, "--part", part)
    tls = {"aws__SecureTransport": "true"}
    for action in OBJECT_ACTIONS:
        assert decide(document, action, f"{BUCKET}/justai/out/calls/_manifest.json", **tls)
        for key in ("justai/outside", "justai/out", "other/justai/out/x", "x"):
            assert not decide(document, action, f"{BUCKET}/{key}", **tls)
        assert not decide(document, action, "arn:aws:s3:::acme-data-2/justai/out/x", **tls)
    for prefix in ("justai/out/", "justai/out/calls/", "justai/out/_lock"):
        assert decide(document, "s3:ListBucket", BUCKET, s3__prefix=prefix, **tls)
    for prefix in ("", "justai/", "justai/outside/", "other/"):
        assert not decide(document, "s3:ListBucket", BUCKET, s3__prefix=prefix, **tls)
    # without a prefix a listing shows the whole bucket
    assert not decide(document, "s3:ListBucket", BUCKET, **tls)
    for action in ("s3:PutBucketPolicy", "s3:DeleteBucket", "s3:GetObjectVersion", "s3:PutObjectAcl"):
        assert not decide(document, action, f"{BUCKET}/justai/out/x", **tls)
        assert not decide(document, action, BUCKET, **tls)


def test_the_bucket_refuses_plain_http() -> None:
    document = run(FULL, "--part", "bucket-policy")
    plain = {"aws__SecureTransport": "false"}
    assert not decide(document, "s3:PutObject", f"{BUCKET}/justai/out/x", **plain)
    assert not decide(document, "s3:ListBucket", BUCKET, s3__prefix="justai/out/", **plain)
    assert statements(document)["CopymartOnlyTls"]["Principal"] == "*"


def test_the_key_serves_s3_alone() -> None:
    document = run(FULL, "--part", "permissions")
    via = {"kms__ViaService": "s3.eu-west-1.amazonaws.com"}
    for action in ("kms:GenerateDataKey", "kms:Decrypt"):
        assert decide(document, action, KEY, **via)
        assert not decide(document, action, KEY, kms__ViaService="ec2.eu-west-1.amazonaws.com")
        assert not decide(document, action, KEY.replace("1234abcd", "99999999"), **via)
    assert not decide(run(BASE, "--part", "permissions"), "kms:Decrypt", KEY, **via)
    with pytest.raises(UserError, match="needs --kms-key-arn"):
        run(BASE, "--part", "kms-grant")


def test_the_external_id_must_be_given() -> None:
    document = run(FULL, "--part", "trust")
    assert decide(document, "sts:AssumeRole", ROLE, sts__ExternalId="acme-7")
    assert not decide(document, "sts:AssumeRole", ROLE, sts__ExternalId="acme-8")
    assert not decide(document, "sts:AssumeRole", ROLE)
    assert statements(document)["CopymartAssume"]["Principal"] == {"AWS": ["arn:aws:iam::123456789012:root"]}
    named = run(FULL, "--part", "trust", "--principal", "210987654321", "--principal", ROLE)
    assert statements(named)["CopymartAssume"]["Principal"] == {
        "AWS": ["arn:aws:iam::210987654321:root", ROLE]
    }


def test_a_stranger_without_an_external_id_is_remarked_on() -> None:
    def remark(*arguments: str) -> str:
        return CliRunner().invoke(app, ["policy", *itertools.chain(*BASE.items()), *arguments]).stderr

    assert "give --external-id" in remark("--principal", "210987654321")
    assert remark("--principal", "210987654321", "--external-id", "acme-7") == ""
    assert remark() == ""


def test_what_stays_true_does_not_expire() -> None:
    rules = run(FULL, "--part", "lifecycle")["Rules"]
    expiring = [rule["Filter"]["Prefix"] for rule in rules if rule.get("Expiration", {}).get("Days") == 400]

    def expires(key: str) -> bool:
        return any(key.startswith(prefix) for prefix in expiring)

    for name, dataset in DATASETS.items():
        folders = "2026/09/01/05/" if dataset.period else ""
        assert expires(f"justai/out/{name}/{folders}{name}.parquet") == bool(dataset.period)
        assert not expires(f"justai/out/{name}/_manifest.json")
    assert not expires("justai/out/_lock")
    kept = run(BASE, "--part", "lifecycle")["Rules"]
    assert [set(rule) for rule in kept] == [{"ID", "Status", "Filter", "AbortIncompleteMultipartUpload"}]
    assert kept[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}
    assert all(rule["Filter"]["Prefix"].startswith("justai/out/") for rule in rules)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *(("--bucket", name, "is no bucket name") for name in ("ab", "Acme", "s3://acme", "acme/x", "a..b")),
        *(("--bucket", name, "is no bucket name") for name in ("10.0.0.1", "xn--a", "a-s3alias", "-acme")),
        ("--prefix", "/justai", "leave out the slash"),
        ("--prefix", "/", "leave out the slash"),
        ("--prefix", "", "is empty"),
        ("--prefix", "justai//out", "empty folder"),
        ("--prefix", "justai/../out", "named . or .."),
        ("--prefix", "justai/*", "as patterns"),
        ("--prefix", "justai/${aws:username}", "as patterns"),
        ("--role-arn", "unloader", "is no role"),
        ("--role-arn", "arn:aws:iam::123:role/unloader", "is no role"),
        ("--role-arn", "arn:aws:iam::123456789012:user/unloader", "is no role"),
        ("--role-arn", "arn:aws:iam::123456789012:role/a*", "is no role"),
        ("--role-arn", "arn:aws:sts::123456789012:assumed-role/unloader/me", "session of a role"),
        ("--external-id", "x", "2 to 1224"),
        ("--external-id", "two words", "2 to 1224"),
        ("--kms-key-arn", "alias/key", "is no key"),
        ("--kms-key-arn", KEY.replace("key/", "alias/"), "takes no alias"),
        ("--principal", "*", "write an account number"),
        ("--principal", "arn:aws:iam::123456789012:group/g", "write an account number"),
    ],
)
def test_arguments_that_aws_would_refuse(option: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        run({**BASE, option: value})


def test_other_partitions_and_paths_of_roles() -> None:
    role = "arn:aws-us-gov:iam::123456789012:role/data/team/unloader"
    whole = run({**BASE, "--role-arn": role})
    text = json.dumps(whole)
    assert "arn:aws-us-gov:s3:::acme-data/justai/out/*" in text
    assert "arn:aws-us-gov:iam::123456789012:root" in text
    assert "arn:aws:" not in text
    with pytest.raises(UserError, match="is no role"):
        run({**BASE, "--role-arn": "arn:aws:iam::123456789012:role/*/x"})


def enforce(endpoint: str, after: str) -> None:
    """Let moto check permissions from the next request on; `inf` ends it."""
    asked = urllib.request.Request(
        f"{endpoint}/moto-api/reset-auth", data=after.encode(), headers={"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(asked).read()


@pytest.fixture
def enforced(endpoint: str) -> Iterator[tuple[Any, str]]:
    """STS as a user who may assume the role, and the server's address, while moto checks permissions."""
    documents = run(FULL)
    store, iam = aws("s3", endpoint), aws("iam", endpoint)
    store.create_bucket(Bucket="acme-data")
    user = iam.create_user(UserName="job")["User"]["Arn"]
    trust = run(FULL, "--part", "trust", "--principal", user)
    iam.create_role(RoleName="unloader", AssumeRolePolicyDocument=json.dumps(trust))
    iam.put_role_policy(
        RoleName="unloader", PolicyName="unload", PolicyDocument=json.dumps(documents["permissions"])
    )
    may_assume = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}],
    }
    iam.put_user_policy(UserName="job", PolicyName="assume", PolicyDocument=json.dumps(may_assume))
    key = iam.create_access_key(UserName="job")["AccessKey"]
    enforce(endpoint, "0")
    try:
        yield aws("sts", endpoint, key["AccessKeyId"], key["SecretAccessKey"]), endpoint
    finally:
        enforce(endpoint, "inf")


def test_the_role_does_what_an_unload_does_and_no_more(enforced: tuple[Any, str]) -> None:
    sts, endpoint = enforced
    with pytest.raises(ClientError, match="AccessDenied"):
        sts.assume_role(RoleArn=ROLE, RoleSessionName="copymart", ExternalId="acme-8")
    got = sts.assume_role(RoleArn=ROLE, RoleSessionName="copymart", ExternalId="acme-7")["Credentials"]
    store = aws("s3", endpoint, got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])
    inside = {"Bucket": "acme-data", "Key": "justai/out/calls/x"}
    outside = {"Bucket": "acme-data", "Key": "justai/other"}

    store.put_object(**inside, Body=b"1", IfNoneMatch="*")
    etag = store.get_object(**inside)["ETag"]
    store.put_object(**inside, Body=b"2", IfMatch=etag)
    upload = store.create_multipart_upload(**inside)["UploadId"]
    part = store.upload_part(**inside, UploadId=upload, PartNumber=1, Body=b"3")
    with pytest.raises(ClientError, match="AccessDenied"):
        store.list_parts(**inside, UploadId=upload)
    store.complete_multipart_upload(
        **inside, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    unfinished = store.create_multipart_upload(**inside)["UploadId"]
    found = store.list_multipart_uploads(Bucket="acme-data", Prefix="justai/out/")["Uploads"]
    assert [each["UploadId"] for each in found] == [unfinished]
    store.abort_multipart_upload(**inside, UploadId=unfinished)
    assert store.list_objects_v2(Bucket="acme-data", Prefix="justai/out/")["KeyCount"] == 1
    store.delete_object(**inside)

    for forbidden in (
        lambda: store.put_object(**outside, Body=b"1"),
        lambda: store.get_object(**outside),
        lambda: store.delete_object(**outside),
        lambda: store.create_multipart_upload(**outside),
        lambda: store.get_bucket_policy(Bucket="acme-data"),
        lambda: store.create_bucket(Bucket="another"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            forbidden()


def test_the_documents_are_taken_as_they_are(endpoint: str) -> None:
    documents = run(FULL)
    store, kms = aws("s3", endpoint), aws("kms", endpoint)
    store.create_bucket(Bucket="taken")
    store.put_bucket_lifecycle_configuration(Bucket="taken", LifecycleConfiguration=documents["lifecycle"])
    rules = store.get_bucket_lifecycle_configuration(Bucket="taken")["Rules"]
    assert rules == documents["lifecycle"]["Rules"]
    own = kms.create_key()["KeyMetadata"]["Arn"]
    grant = run({**FULL, "--kms-key-arn": own}, "--part", "kms-grant")
    kms.create_grant(**grant)
    granted = kms.list_grants(KeyId=own)["Grants"]
    assert [(each["GranteePrincipal"], each["Operations"]) for each in granted] == [
        (ROLE, ["GenerateDataKey", "Decrypt"])
    ]
    store.put_object(Bucket="taken", Key="justai/out/x", Body=b"1")
    policy = run({**FULL, "--bucket": "taken"}, "--part", "bucket-policy")
    store.put_bucket_policy(Bucket="taken", Policy=json.dumps(policy))
    assert json.loads(store.get_bucket_policy(Bucket="taken")["Policy"]) == policy
    # the tests speak plain http, which this policy refuses
    with pytest.raises(ClientError, match="403"):
        store.put_object(Bucket="taken", Key="justai/out/x", Body=b"2")


def test_the_documents_of_the_page_are_the_programs() -> None:
    page = (PROJECT / "docs/s3.md").read_text()
    command, shown = re.findall(r"```(?:bash|json)\n(.*?)```", page, re.DOTALL)
    _, verb, *arguments = command.split()
    result = CliRunner().invoke(app, [verb, *arguments])
    assert result.stdout == shown
