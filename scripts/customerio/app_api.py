"""Customer.io's App API: requests, pages and errors.

dlt's RESTClient sends, pages and retries. What it does not do is here: the pace, what an error means, and
the answers with status 200 that are not what they seem.
"""

import json
import math
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dlt.common.configuration.specs import RuntimeConfiguration
from dlt.sources.helpers.requests import Client
from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
from dlt.sources.helpers.rest_client.client import RESTClient
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator
from requests import HTTPError, JSONDecodeError, PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter

from scripts.customerio.retry_after import retry_after
from scripts.errors import UserError

KEY = "CUSTOMERIO_APP_API_KEY"
HOSTS = {"us": "https://api.customer.io", "eu": "https://api-eu.customer.io"}

MOST_PAGES = 50_000
"""Pages of one list. The longest that is read, a month of deliveries, has 1,000 to a page."""

_ATTEMPTS = 8
_LONGEST_WAIT = 900
_TIMEOUT = 60.0
# Beyond this clock, so that what waits on the way to Customer.io does not arrive within its second.
_SECOND = 1.02
_RETRIED = (429, *range(500, 600))


class Gone(Exception):
    """The object that a path names is not there (any more)."""


class Restarted(Exception):
    """The list began again at its first page, as it does for a token beyond its end."""


@dataclass(frozen=True)
class Api:
    """A session with the App API, and one for files that lie elsewhere.

    `pause`: the seconds of the first wait for something that is not ready.
    """

    client: RESTClient
    files: Session
    pause: float = 2.0


class _Waiting(HTTPAdapter):
    """Gives dlt a Retry-After as seconds: a date that no calendar has ends in its trace."""

    def send(self, *given: Any, **named: Any) -> Response:
        response = super().send(*given, **named)
        wait = retry_after(response.headers.pop("Retry-After", ""), time.time())
        if wait is not None:
            response.headers["Retry-After"] = str(math.ceil(min(wait, _LONGEST_WAIT)))
        return response


class _Paced(_Waiting):
    """Sends at most `rate` requests in any second, retries too."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._sent: deque[float] = deque(maxlen=max(1, int(rate)))
        self._span = self._sent.maxlen / rate * _SECOND if self._sent.maxlen else 0.0

    def send(self, request: PreparedRequest, *given: Any, **named: Any) -> Response:
        if len(self._sent) == self._sent.maxlen:
            time.sleep(max(0.0, self._sent[0] + self._span - time.monotonic()))
        self._sent.append(time.monotonic())
        response = super().send(request, *given, **named)
        if response.status_code in _RETRIED and self._span > 0:
            # jitter: two extracts that were refused together must not come back together
            time.sleep(random.uniform(0, self._span / 2))
        return response


def open_api(address: str, key: str, rate: float = 10, backoff: float = 1.0, pause: float = 2.0) -> Api:
    """A session with the API at an address such as `https://api.customer.io`.

    `key`: the App API key. `rate`: requests per second at most. `backoff`: seconds before the first retry;
    each next one waits twice as long, and a Retry-After decides where Customer.io sends one.
    """
    session, files = _retrying(backoff, _Paced(rate)), _retrying(backoff, _Waiting())
    # the API has no redirects, and the key is not for another host
    session.max_redirects = 0
    # its own configuration: the default reads files of dlt in the folder and at home
    client = RESTClient(address, auth=BearerTokenAuth(key), session=session, config=RuntimeConfiguration())
    return Api(client, files, pause)


def _retrying(backoff: float, adapter: HTTPAdapter) -> Session:
    session = Client(
        request_timeout=_TIMEOUT,
        raise_for_status=False,
        request_max_attempts=_ATTEMPTS,
        request_backoff_factor=backoff,
        request_max_retry_delay=_LONGEST_WAIT,
    ).session
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    return session


def path_of(*parts: object) -> str:
    """A path below /v1. Ids are encoded: with a plain `@` or `+` Customer.io answers 200 and nothing."""
    return "/".join(("v1", *(quote(str(part), safe="") for part in parts)))


def pages(api: Api, path: str, member: str, parameters: dict[str, Any] | None = None) -> Iterator[list[Any]]:
    """Yield the pages of a list: what the member of each answer holds, until an answer names no next page.

    Raises:
        UserError: Customer.io refuses the request, or answers something else.
        Gone: the path names something that is not there.
        Restarted: the list would go round for ever.
    """
    paginator = JSONResponseCursorPaginator(cursor_path="next", cursor_param="start")
    answers = api.client.paginate(path, params=dict(parameters or {}), paginator=paginator, data_selector="$")
    tokens: set[str] = set()
    while (body := _next(answers, path)) is not None:
        yield items_of(body, member, path)
        token = body.get("next")
        if token and str(token) in tokens:
            raise Restarted(path)
        tokens.add(str(token))
        if len(tokens) > MOST_PAGES:
            raise UserError(f"{path} has more than {MOST_PAGES:,} pages, which no list has: tell Customer.io")


def _next(answers: Iterator[Any], path: str) -> dict[str, Any] | None:
    try:
        page = next(answers, None)
    except HTTPError as error:
        raise _failure(error.response, path) from error
    except RequestException as error:
        raise _no_answer(error, path) from error
    if page is None:
        return None
    return _object(page[0] if len(page) == 1 else None, path)


def one(api: Api, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer to a GET, or to a POST of this body.

    Raises:
        UserError, Gone: as for pages.
    """
    try:
        response = api.client.post(path, json=body) if body is not None else api.client.get(path)
        if not response.ok:
            raise _failure(response, path)
        return _object(response.json(), path)
    except RequestException as error:
        raise _no_answer(error, path) from error


def download(api: Api, url: str, to: Path) -> bool:
    """Download a signed link; False when it has expired. The key does not go to the link's host."""
    try:
        with api.files.get(url, stream=True) as response:
            if response.status_code in (401, 403, 404, 410):
                return False
            response.raise_for_status()
            with to.open("wb") as file:
                for chunk in response.iter_content(2**20):
                    file.write(chunk)
    except RequestException as error:
        raise UserError(
            f"the export could not be downloaded ({_without_query(error)}): run the command again"
        ) from error
    return True


def items_of(body: dict[str, Any], member: str, path: str) -> list[Any]:
    """The list in an answer; null is an empty one.

    Raises:
        UserError: it is not there. An answer without it would look like an empty list.
    """
    items = body.get(member, ...)
    if items is None:
        return []
    if not isinstance(items, list):
        raise UserError(
            f"{path} answered 200 without a list {member} (it has {', '.join(sorted(body)) or 'nothing'}): "
            "the API has changed; nothing of this list was landed"
        )
    return items


def _object(body: Any, path: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise UserError(f"{path} answered 200 with something else than a JSON object")
    return body


def _failure(response: Response | None, path: str) -> Exception:
    """What an answer with an error means for the user."""
    if response is None:
        return UserError(f"no answer to {path}: run the command again")
    status, said = response.status_code, _said(response)
    if status in (401, 403):
        return UserError(
            f"Customer.io refuses the key ({status}{said}). One of three: {KEY} is no App API key (those of "
            "the Track and Pipelines APIs are others), the workspace is in the other --region (us or eu), or "
            f"the key's scope lacks {path}"
        )
    if status == 404 and said:
        return Gone(f"{path}{said}")
    if status == 404:
        return UserError(f"{path} is no path of the App API (404): is --api-url right?")
    if status in _RETRIED:
        return UserError(
            f"Customer.io answered {status} to {path}{said} {_ATTEMPTS} times. What was landed stays: run "
            "the command again later"
        )
    return UserError(f"Customer.io refuses {path} ({status}){said}")


def _said(response: Response) -> str:
    """What the body of an error says, in any of its three shapes; empty if it is no JSON."""
    try:
        body = response.json()
    except ValueError:
        return ""
    meta = body.get("meta") if isinstance(body, dict) else None
    found = body.get("errors") if isinstance(body, dict) else None
    if not found and isinstance(meta, dict):
        found = meta.get("errors") or meta.get("error")
    texts = [_detail(error) for error in (found if isinstance(found, list) else [found]) if error]
    return f": {'; '.join(texts) or json.dumps(body)[:200]}"


def _detail(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    source = error.get("source")
    pointer = source.get("pointer") if isinstance(source, dict) else None
    text = str(error.get("detail") or error.get("title") or json.dumps(error))
    return f"{text} (at {pointer})" if pointer else text


def _no_answer(error: RequestException, path: str) -> UserError:
    if isinstance(error, JSONDecodeError):
        return UserError(f"{path} answered 200 with something else than JSON: is a proxy in between?")
    return UserError(
        f"no answer to {path} ({_without_query(error)}). What was landed stays: check the network and run "
        "the command again"
    )


def _without_query(error: Exception) -> str:
    """An error's kind: its text may hold the signature of a link."""
    return type(error).__name__
