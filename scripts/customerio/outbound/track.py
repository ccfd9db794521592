"""Customer.io's Track API: one request, and what its answer means.

Customer.io's own client sends. What it does besides is switched off here: it would resend by itself, follow a
redirect as a GET whose 200 looks like success, wait within the call, and put whole batches into the text of
its exceptions.
"""

import json
import time
from typing import Any
from urllib.parse import urlsplit

from customerio.client_base import CustomerIOException, TCPKeepAliveHTTPAdapter
from customerio.regions import Regions
from customerio.track import CustomerIO
from requests import RequestException, Response, Session
from requests.adapters import HTTPAdapter

from scripts.customerio.outbound.outcomes import Again, Refusal, Refused
from scripts.customerio.retry_after import retry_after
from scripts.errors import UserError

SITE_ID, API_KEY = "CUSTOMERIO_SITE_ID", "CUSTOMERIO_TRACK_API_KEY"
REGIONS = {"us": Regions.US, "eu": Regions.EU}
OPEN, CLOSE = b'{"batch":[', b"]}"
_TIMEOUT = (10.0, 60.0)
_RETRIED = (408, 425, 429, *range(500, 600))


class _Session(Session):
    """Sends the texts of items as they are, follows nothing, and keeps what came back."""

    answer: Response | None = None

    def request(self, method: Any, url: Any, **given: Any) -> Response:  # type: ignore[override]
        self.answer = None
        data = given.pop("json", None)
        if data is not None:
            given["data"] = _body(data)
            given["headers"] = {"Content-Type": "application/json; charset=utf-8"}
        given |= {"allow_redirects": False, "timeout": _TIMEOUT}
        # with its body: one that is cut within it is none
        self.answer = super().request(method, url, **given)
        return self.answer


class _Client(CustomerIO):  # type: ignore[misc]
    def _build_session(self) -> _Session:
        theirs = super()._build_session()
        session = _Session()
        session.headers.update(theirs.headers)
        session.auth = theirs.auth
        # theirs raises an error for 5xx, without the answer
        session.mount("https://", TCPKeepAliveHTTPAdapter(max_retries=0))
        # no key goes out in the clear
        session.mount("http://", _Nothing())
        return session


class _Nothing(HTTPAdapter):
    def send(self, *_given: Any, **_named: Any) -> Response:
        raise RequestException("only https")


def _body(data: dict[str, Any]) -> bytes:
    """A batch of texts as one JSON object; anything else as JSON."""
    if isinstance(texts := data.get("batch"), list):
        return OPEN + ",".join(texts).encode() + CLOSE
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


class Track:
    """A session with the Track API. Each thread needs its own."""

    def __init__(self, region: str, site_id: str, api_key: str, api_url: str | None = None) -> None:
        """`api_url`: another address than the region's, such as a proxy's.

        Raises:
            UserError: the address is none of https.
        """
        host, port = _host(api_url)
        self.region = region
        self._client = _Client(
            site_id=site_id, api_key=api_key, region=REGIONS[region], host=host, port=port, retries=0
        )

    def batch(self, texts: list[str]) -> dict[int, Refusal]:
        """Send items; return those that Customer.io refuses, by their place.

        Raises:
            Again: the request is to be sent again.
            Refused: the request is refused as a whole.
            UserError: nothing that is sent would be taken.
        """
        return self._sent(lambda: self._client.batch(texts), len(texts))

    def metric(self, text: str) -> dict[int, Refusal]:
        """Report a delivery event; raises as `batch` does."""
        url = f"{self._client.base_url}/metrics"
        return self._sent(lambda: self._client.send_request("POST", url, json.loads(text)), 1)

    def check(self) -> None:
        """Ask for the region of the workspace, before anything about people leaves for the wrong one.

        Raises:
            Again: there is no answer.
            UserError: the key is refused, or the workspace lies in the other region.
        """
        url = f"{self._client.base_url}/accounts/region"
        session = self._client.http
        try:
            response = session.request("GET", url)
        except RequestException as error:
            raise Again(type(error).__name__) from None
        if response.status_code in _RETRIED:
            raise Again(str(response.status_code), _wait(response))
        if response.is_redirect:
            raise self._other_region(self._other)
        if response.status_code in (401, 403):
            raise self._unusable(response)
        body = _json(response)
        found = str(body.get("region", "")).lower() if isinstance(body, dict) else ""
        if response.ok and found in REGIONS and found != self.region:
            raise self._other_region(found)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _sent(self, send: Any, count: int) -> dict[int, Refusal]:
        session = self._client.http
        kind = ""
        try:
            send()
        except CustomerIOException as error:
            # its text may hold all that was sent: it goes no further, not even as the cause of another
            kind = type(error.__cause__).__name__
        if session.answer is None:
            raise Again(f"no answer ({kind})")
        return self._understood(session.answer, count)

    def _understood(self, response: Response, count: int) -> dict[int, Refusal]:
        status = response.status_code
        if status in _RETRIED:
            raise Again(str(status), _wait(response))
        body = _json(response)
        if status == 207:
            return _refusals(body, count)
        if response.ok and not response.is_redirect and status < 300:
            if not isinstance(body, dict):
                raise UserError(
                    f"Customer.io answered {status} with something else than JSON: is a proxy in between? "
                    "What it answered before is acknowledged: look at --api-url, and run the command again"
                )
            return {}
        if status in (400, 413, 422):
            raise Refused(_reason(body, status))
        raise self._unusable(response)

    def _unusable(self, response: Response) -> UserError:
        status = response.status_code
        if 300 <= status < 400:
            return self._other_region(
                self._other, f"The last requests came to {self._client.host} and were not taken there"
            )
        if status in (401, 403):
            return UserError(
                f"Customer.io refuses the key ({status}). One of two: {SITE_ID} and {API_KEY} are not the "
                "Track API credentials of one workspace (App API and Pipelines keys are others), or the "
                "workspace is in the other --region (us or eu)"
            )
        return UserError(
            f"Customer.io answered {status}, which the Track API never does: is --api-url right?"
        )

    @property
    def _other(self) -> str:
        return "eu" if self.region == "us" else "us"

    def _other_region(self, found: str, sent: str | None = None) -> UserError:
        said = sent or f"Nothing was sent to {self._client.host}"
        return UserError(f"the workspace lies in the region {found}: give --region {found}. {said}")


def _host(api_url: str | None) -> tuple[str | None, int | None]:
    if api_url is None:
        return None, None
    found = urlsplit(api_url)
    if found.scheme != "https" or not found.hostname or found.path.strip("/"):
        raise UserError(f"--api-url {api_url}: write https://host or https://host:port")
    return found.hostname, found.port


def _json(response: Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _wait(response: Response) -> float | None:
    return retry_after(response.headers.get("Retry-After", ""), time.time())


def _refusals(body: Any, count: int) -> dict[int, Refusal]:
    """The refused items of an answer 207, by their place.

    Raises:
        UserError: it does not say which they are. To take all of them for acknowledged would lose some.
    """
    errors = body.get("errors") if isinstance(body, dict) else None
    named = [
        error
        for error in (errors if isinstance(errors, list) else ())
        if isinstance(error, dict) and type(error.get("batch_index")) is int
    ]
    # an item may have several faults, of which the first is kept
    found = {error["batch_index"]: _refusal(error) for error in reversed(named)}
    if not errors or len(named) != len(errors) or not all(0 <= place < count for place in found):
        raise UserError(
            "Customer.io answered 207 without saying which items it refused: the API has changed. None of "
            "that batch is acknowledged, and the next run sends it again"
        )
    return found


def _reason(body: Any, status: int) -> Refusal:
    """The first reason in the body of an error, in any of its shapes."""
    found = body if isinstance(body, dict) else {}
    meta = found.get("meta")
    errors = found.get("errors")
    if not errors and isinstance(meta, dict):
        errors = meta.get("errors") or meta.get("error")
    first = errors[0] if isinstance(errors, list) and errors else errors
    return _refusal(first if isinstance(first, dict) else {"reason": status, "message": first})


def _refusal(error: dict[str, Any]) -> Refusal:
    reason, field, message = (_text(error.get(name) or "") for name in ("reason", "field", "message"))
    return Refusal(reason or "refused", field, message)


def _text(said: Any) -> str:
    """A text that journal and ledger take: half of a surrogate pair, where a value was cut, is none."""
    return str(said).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
