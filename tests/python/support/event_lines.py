"""Events with every usual and odd kind of data, and what landing reads out of it."""

import json
from typing import Any

from support.land import event, text

DATA: list[tuple[str, dict[str, Any]]] = [
    # data as JSON text, and the columns that are not null
    ("{}", {}),
    ("null", {}),
    ('""', {}),
    (
        '{"delivery_id":"d","journey_id":"j","action_id":1,"parent_action_id":2,"campaign_id":3,'
        '"identifiers":{"id":"u"},"href":"https://x.test/?a=1","prefetched":true,"synthetic":false,"machine":true}',
        {
            "delivery_id": "d",
            "journey_id": "j",
            "action_id": 1,
            "parent_action_id": 2,
            "campaign_id": 3,
            "user_id": "u",
            "href": "https://x.test/?a=1",
            "is_prefetched": True,
            "is_synthetic": False,
            "is_machine_click": True,
        },
    ),
    # the older places, each only where the newer ones are empty
    ('{"delivery_id":"","variables":{"delivery_id":"v"},"email_id":"e"}', {"delivery_id": "v"}),
    ('{"delivery_id":"d","variables":{"delivery_id":"v"},"email_id":"e"}', {"delivery_id": "d"}),
    ('{"delivery_id":null,"variables":{"delivery_id":""},"email_id":"e"}', {"delivery_id": "e"}),
    ('{"variables":{"campaign":{"id":"8"}}}', {"campaign_id": 8}),
    ('{"campaign_id":"","variables":{"campaign":{"id":8}}}', {"campaign_id": 8}),
    ('{"campaign_id":"x","variables":{"campaign":{"id":8}}}', {"campaign_id": 8}),
    ('{"campaign_id":7,"variables":{"campaign":{"id":8}}}', {"campaign_id": 7}),
    ('{"identifiers":{"id":""},"customer_id":"c"}', {"user_id": "c"}),
    ('{"identifiers":{"id":"  "},"customer_id":"c","journey_id":" "}', {"user_id": "c"}),
    ('{"identifiers":{"id":17},"customer_id":"c"}', {"user_id": "17"}),
    ('{"identifiers":{"email":"a@b.test"},"customer_id":5}', {"user_id": "5"}),
    # a place of another shape holds nothing
    ('{"identifiers":"u","variables":[1],"customer_id":"c"}', {"user_id": "c"}),
    ('{"identifiers":null,"variables":{"campaign":"x","delivery_id":null}}', {}),
    ('{"identifiers":[{"id":"u"}],"variables":{"campaign":[{"id":1}]}}', {}),
    # ids
    ('{"action_id":"42","parent_action_id":"0041.00"}', {"action_id": 42, "parent_action_id": 41}),
    ('{"action_id":1e3,"parent_action_id":"1e3"}', {"action_id": 1000, "parent_action_id": 1000}),
    ('{"action_id":41.0,"parent_action_id":41.5}', {"action_id": 41}),
    ('{"action_id":-0,"parent_action_id":"-7"}', {"action_id": 0, "parent_action_id": -7}),
    (
        '{"action_id":1234567890123456789,"parent_action_id":"9223372036854775807","campaign_id":-9223372036854775808}',
        {"action_id": 1234567890123456789, "parent_action_id": 2**63 - 1, "campaign_id": -(2**63)},
    ),
    ('{"action_id":9223372036854775808,"parent_action_id":"9223372036854775808"}', {}),
    ('{"action_id":123456789012345678901234567890,"campaign_id":1}', {"campaign_id": 1}),
    ('{"action_id":9007199254740991.0}', {"action_id": 2**53 - 1}),
    ('{"action_id":" 42","parent_action_id":"4_2","campaign_id":"0x2a"}', {}),
    ('{"action_id":true,"parent_action_id":[42],"campaign_id":{"id":42}}', {}),
    ('{"variables":{"campaign":{"id":1e17}}}', {}),
    # what is no text keeps the text that JSON has of it
    (
        '{"journey_id":15,"delivery_id":41.50,"href":1e2}',
        {"journey_id": "15", "delivery_id": "41.5", "href": "100.0"},
    ),
    # but for an id that is whole, as calls have it
    (
        '{"journey_id":15.0,"delivery_id":-3.0,"identifiers":{"id":1.001e3},"href":1.0}',
        {"journey_id": "15", "delivery_id": "-3", "user_id": "1001", "href": "1.0"},
    ),
    ('{"variables":{"delivery_id":7.0},"customer_id":1e3}', {"delivery_id": "7", "user_id": "1000"}),
    ('{"email_id":7.0,"customer_id":"1001.0"}', {"delivery_id": "7", "user_id": "1001.0"}),
    (json.dumps('{"journey_id": 15.0, "customer_id": "5.0"}'), {"journey_id": "15", "user_id": "5.0"}),
    (
        '{"journey_id":9007199254740992.0,"delivery_id":"x.0"}',
        {"journey_id": "9007199254740992.0", "delivery_id": "x.0"},
    ),
    ('{"journey_id":true,"delivery_id":false}', {"journey_id": "true", "delivery_id": "false"}),
    (
        '{"journey_id":{"b": 1, "a": [null]},"delivery_id":[1, "x"],"href":[]}',
        {"journey_id": '{"b":1,"a":[null]}', "delivery_id": '[1,"x"]', "href": "[]"},
    ),
    (
        '{"journey_id":123456789012345678901234567890,"delivery_id":"\u00a0"}',
        {"journey_id": "123456789012345678901234567890", "delivery_id": "\u00a0"},
    ),
    (
        r'{"href":"https:\/\/x.test\/\u00e9\n","journey_id":"null"}',
        {"href": "https://x.test/é\n", "journey_id": "null"},
    ),
    ('{"href":"","journey_id":null}', {}),
    # flags
    (
        '{"prefetched":1,"synthetic":0,"machine":"yes"}',
        {"is_prefetched": True, "is_synthetic": False, "is_machine_click": True},
    ),
    (
        '{"prefetched":"T","synthetic":" No ","machine":"F"}',
        {"is_prefetched": True, "is_synthetic": False, "is_machine_click": False},
    ),
    (
        '{"prefetched":1.0,"synthetic":"0.0","machine":"Y"}',
        {"is_prefetched": True, "is_synthetic": False, "is_machine_click": True},
    ),
    ('{"prefetched":"","synthetic":2,"machine":"maybe"}', {}),
    ('{"prefetched":null,"synthetic":[true],"machine":{"is":true}}', {}),
    # data as text that holds JSON
    (
        json.dumps('{"delivery_id": "d", "action_id": 1e3, "machine": 1}'),
        {"delivery_id": "d", "action_id": 1000, "is_machine_click": True},
    ),
    (json.dumps(' {"identifiers": {"id": "u"}}\n'), {"user_id": "u"}),
    # of a key that occurs twice, the first counts
    (
        '{"delivery_id":"a","delivery_id":"b","action_id":1,"action_id":2}',
        {"delivery_id": "a", "action_id": 1},
    ),
]
EVENT_LINES = [
    text(event(data=0, event_id=f"e{n}")).replace('"data": 0', f'"data": {data}').strip()
    for n, (data, _) in enumerate(DATA)
]
