"""The simulated lines: spelled in many ways, in files by the hour of arrival."""

import re
from collections import Counter
from datetime import datetime
from itertools import groupby
from pathlib import Path

import pytest

from support.simulated import HOUR, as_map, delivery_id, good, lines, rows, seconds, whole

# least number of lines with such text among those of 20,000 calls
SPELLED = {
    "justai/calls": {
        r'"event_timestamp": ?\d{10}[ ,}]': 15_000,
        r'"event_timestamp": ?\d{13}[ ,}]': 300,
        r'"event_timestamp": ?\d{16}[ ,}]': 100,
        r'"event_timestamp": ?"\d{10}"': 300,
        r'"action_id":"\d+"': 50,
        r'"action_id":\d+\.0': 20,
        r'"user_id":null': 30,
        r'"user_id":""': 30,
        r'"journey_id":null': 30,
        r'"journey_id":"flow \\"a,': 20,
        r'"campaign_id":""': 10,
        r'"copy_id" ?: ?"[0-9A-F-]{36}"': 200,
        r'"vars":null': 5,
        r'"vars":"\{': 300,
        r'"vars": \{': 300,
        r'"attrs":\{ \}': 5,
        r'"attrs":null': 5,
        r"\\u00e4": 100,
        r"<\\/p>": 300,
        r'"preheader":""': 1_000,
        r'"tracking_id"': 300,
        "\u2028": 100,
    },
    "customerio/events": {
        r'"object_type":"in-app"': 100,
        r'"object_type":"twilio"': 100,
        r'"object_type":"EMAIL"': 50,
        r'"object_type":" email ","metric":"sms_': 10,
        r'"variables":\{"value":-?\d+\.\d\d\}': 100,
        r'"variables":\{"value":"-?\d+\.\d\d"\}': 10,
        r'"object_type":"\w+","metric":"cio_subscription_preferences_changed","timestamp': 50,
        r'"action_id":1234567890123456789,': 20,
        r'"action_id":\d+e1,': 20,
        r'"variables":\{[^}]*\},"delivery_id":"': 20,
        r'^\{"event_id":"[^"]+","event_type":"email_': 100,
        r'"data":\{"event_type":"': 100,
        r'"metric":"email_opened"': 20,
        r'"object_type_type"': 10,
        r'"timestamp": "\d{10}"': 300,
        r'"timestamp":\d{13},': 50,
        r'"prefetched":true': 1_000,
        r'"proxied":true,"prefetched":false': 100,
        r'"synthetic":true': 50,
        r'"machine":true': 100,
        r'"machine":null': 20,
        r'"journey_id":9\d{8}': 20,
        r'"delivery_id":""': 3,
        r'"newsletter_id"': 100,
        r'"transactional_message_id"': 100,
        r'"broadcast_id"': 100,
        r'"email_id"': 40,
        r"\}\r$": 50,
        r"^\{ ": 300,
    },
}


@pytest.mark.parametrize("dataset", SPELLED)
def test_the_lines_are_spelled_in_many_ways(large: Path, dataset: str) -> None:
    text = [line.decode(errors="replace") for _, _, line in lines(large, dataset)]
    found = {pattern: sum(1 for line in text if re.search(pattern, line)) for pattern in SPELLED[dataset]}
    assert {pattern: n for pattern, n in found.items() if n < SPELLED[dataset][pattern]} == {}


def test_files_lie_under_the_hour_of_arrival(large: Path) -> None:
    late: Counter[str] = Counter()
    for dataset, field in (("justai/calls", "event_timestamp"), ("customerio/events", "timestamp")):
        for file, record in good(large, dataset):
            year, month, day, hour = map(int, HOUR.search(file).groups())
            arrived = datetime(year, month, day, hour)
            happened = datetime.fromtimestamp(seconds(record[field]) // 3600 * 3600)
            assert arrived >= happened
            late[dataset, (arrived - happened).days >= 12] += 1
    for dataset in ("justai/calls", "customerio/events"):
        assert late[dataset, True] > 100 < late[dataset, False]


def test_lines_of_a_file_are_in_no_order(large: Path) -> None:
    times = [
        [seconds(record["event_timestamp"]) for _, record in group]
        for _, group in groupby(good(large, "justai/calls"), key=lambda pair: pair[0])
    ]
    assert sum(1 for within in times if within != sorted(within)) > 100


def test_the_calls_of_the_files_are_those_of_the_truth(small: Path) -> None:
    found = {
        (
            seconds(record["event_timestamp"]),
            record.get("user_id") or None,
            whole(record.get("campaign_id")),
            whole(record.get("action_id")),
            *(record.get("journey_id") or None, record["copy_id"].lower(), record["template_id"]),
            *(as_map(record.get("vars")), as_map(record.get("attrs"))),
        )
        for _, record in good(small, "justai/calls")
    }  # fmt: skip
    nine = "event_timestamp, user_id, campaign_id, action_id, journey_id, copy_id, template_id, vars, attrs"
    assert found == set(rows(small, f"select {nine} from fct_calls"))


def test_the_events_of_the_files_are_those_of_the_truth(small: Path) -> None:
    def is_about_message(record: dict) -> bool:
        data = record["data"]
        name = record.get("object_type") or record.get("event_type") or data.get("event_type") or ""
        return bool(delivery_id(data)) and not name.lower().startswith(("webhook", "customer"))

    found = {
        (record["event_id"], seconds(record["timestamp"]) // 86_400, delivery_id(record["data"]))
        for _, record in good(small, "customerio/events")
        if is_about_message(record)
    }
    keys = "select event_id, (epoch(event_date) // 86400)::bigint, delivery_id from fct_engagement_events"
    assert found == set(rows(small, keys))


def test_rejects_are_lines_that_nobody_could_land(large: Path) -> None:
    rejected_lines = {(file, line): (raw, reason) for file, line, raw, reason in rows(
        large, "select file, line, raw, reason from rejects")}  # fmt: skip
    blank = 0
    for dataset in ("justai/calls", "customerio/events"):
        for file, number, line in lines(large, dataset):
            raw, reason = rejected_lines.pop((file, number), (None, None))
            blank += not line.strip()
            if reason == "invalid_utf8":
                assert raw is None
                with pytest.raises(UnicodeDecodeError):
                    line.decode()
            elif reason:
                assert line.decode() == raw
    assert rejected_lines == {}
    assert blank > 10
