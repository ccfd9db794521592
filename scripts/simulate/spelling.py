"""How lines are written, in SQL: the many ways in which the vendors may write one call or event."""

SPELLING = r"""
create macro quoted(value) as '"' || value || '"';
-- A member of an object, with its comma; where the value is null, one of the ways to say so.
create macro member(name, value, k) as coalesce(
    ',"' || name || '":' || value,
    case draw_int(k, 'null of ' || name, 0, 2)
        when 0 then '' when 1 then ',"' || name || '":null' else ',"' || name || '":""' end);
create macro number_text(value, k) as
    case when draw(k, 'number as text') < 0.015 then quoted(value) else value::varchar end;
-- Sometimes a float, but only where a double holds all digits.
create macro id_text(value, k) as
    case when value < 9007199254740992 and draw(k, 'decimal') < 0.003 then value || '.0'
        else number_text(value, k) end;
create macro event_id_text(value, k) as
    case when value < 9007199254740992 and value % 10 = 0 and draw(k, 'exponent') < 0.03
            then (value // 10) || 'e1'
        else id_text(value, k) end;
create macro journey_text(value) as case left(value, 1)
    when '0' then quoted(value) else to_json(value)::varchar end;
create macro envelope(id, object, metric, moment, data) as
    '{"event_id":"' || id || '","object_type":"' || object || '","metric":"' || metric || '","timestamp":'
    || moment || ',"data":{' || data || '}}';
create macro old_envelope(id, name, moment, data) as
    '{"event_id":"' || id || '","event_type":"' || name || '","timestamp":' || moment
    || ',"data":{' || data || '}}';
"""


SPELL_CALLS = r"""
with spelled as (
    select l.*, v.template_id, t.text as vars, p.text as attrs,
        case when draw(l.spelling, 'unit') < 0.93 then l.instant::varchar
            when draw(l.spelling, 'unit') < 0.96
                then (l.instant * 1000 + draw_int(l.spelling, 'ms', 0, 999))::varchar
            when draw(l.spelling, 'unit') < 0.97
                then (l.instant * 1000000 + draw_int(l.spelling, 'us', 0, 999999))::varchar
            else quoted(l.instant) end as moment,
        member('user_id', quoted(user_id), l.spelling) as users,
        member('campaign_id', number_text(campaign, l.spelling), l.spelling) as campaigns,
        member('action_id', id_text(action, l.spelling), l.spelling) as actions,
        member('journey_id', journey_text(journey), l.spelling) as journeys,
        case when draw(l.spelling, 'case') < 0.02 then upper(copy_id) else copy_id end as copies
    from call_line l
    join copy using (copy_no)
    join version v using (version_no)
    join version_text t on t.version_no = l.version_no
        and t.rendering = case when draw(l.spelling, 'vars') < 0.85 then 0
            else draw_int(l.spelling, 'vars form', 1, 4) end
    join person p on p.person_no = l.person_no
        and p.rendering = case when draw(l.spelling, 'attrs') < 0.9 then 0
            else draw_int(l.spelling, 'attrs form', 1, 4) end
    where hour >= $first and hour < $last
)
select hour, draw(line_no, 'place in file') as place, line_no, null::varchar as reason, encode(case
    when draw(spelling, 'order') < 0.97 then
        '{"event_timestamp":' || moment || users || campaigns || actions || journeys || ',"copy_id":"'
        || copies || '","template_id":"' || template_id || '"' || vars || attrs || '}'
    else
        '{ "copy_id" : "' || copies || '"' || attrs || journeys || vars || ', "tracking_id":"t-' || spelling
        || '"' || actions || ',"event_timestamp": ' || moment || ' ,"template_id":"' || template_id || '"'
        || campaigns || users || ' }'
    end || chr(10)) as line
from spelled
union all
select hour, draw(junk_no, 'place of junk'), -junk_no, reason, raw || encode(chr(10))
from junk where dataset = 'justai_calls' and hour >= $first and hour < $last
order by hour, place, line_no
"""

SPELL_EVENTS = r"""
with named as (
    select *, ulid(id_ms, any_hash(id_no, 'event id')) as event_id, user_no || '@example.com' as address,
        case when message_no is not null then cio_delivery_id(message_no) end as delivery,
        case when draw(spelling, 'unit') < 0.005 then instant * 1000 + draw_int(spelling, 'ms', 0, 999)
            else instant end as moment,
        case when channel = 'in_app' and draw(spelling, 'object') < 0.3 then 'in-app'
            when channel = 'sms' and draw(spelling, 'object') < 0.3 then 'twilio'
            when draw(spelling, 'object') > 0.995 then upper(channel) else channel end as object,
        -- the fields that decide between two payloads of one second must not be random
        case when flags in ('accused', 'denied') then 19
            else draw_int(id_no, 'identifiers', 0, 19) end as identified
    from event_line where hour >= $first and hour < $last
),
part as (
    select *,
        case identified
            when 0 then ',"customer_id":"","identifiers":{"id":null,"email":"' || address || '"}'
            when 1 then ',"identifiers":{"id":"u-' || user_no || '"}'
            else ',"customer_id":"u-' || user_no || '","identifiers":{"id":"u-' || user_no
                || '","email":"' || address || '","cio_id":"c' || user_no || '"}' end as person,
        case when left(journey, 1) = '9' then journey else journey_text(journey) end as path,
        case channel
            when 'push' then ',"recipients":[{"device_id":"d' || user_no || '","device_platform":"ios"}]'
            when 'webhook' then ',"recipient":"https://worker.justwords.ai/api/generate/acme"'
            when 'email' then ',"recipient":"' || address || '","subject":"Edition' || note || '"'
            else ',"recipient":"+49' || user_no || note || '"' end as addressed,
        case when metric = 'clicked'
                then coalesce(',"href":"' || link_href(id_no, user_no) || '"', '') || ',"link_id":3'
            when metric = 'converted' and kind <> 'legacy' then coalesce(
                ',"variables":{"value":' || case when draw(spelling, 'value as text') < 0.1
                    then quoted(value_of(id_no)) else value_of(id_no)::varchar end || '}', '')
            when metric = 'replied' then ',"inbound_event_id":"i1","to":"+1"'
            when metric = 'cio_subscription_preferences_changed' and kind <> 'legacy'
                then ',"email_address":"' || address || '","content":"{\"topics\":{\"topic_1\":false}}"'
            when metric in ('attempted', 'bounced', 'failed', 'dropped', 'suppressed', 'undeliverable')
                then ',"failure_message":"no luck: \u00fc again"' else '' end as happened,
        case when channel <> 'email' then '' else case flags
            when 'prefetched' then case draw_int(spelling, 'flags', 0, 2)
                when 0 then ',"prefetched":true'
                when 1 then ',"proxied":true,"prefetched":true,"synthetic":false'
                else ',"proxied":false,"prefetched":true' end
            when 'human' then case draw_int(spelling, 'flags', 0, 9)
                when 0 then '' when 1 then ''
                when 2 then ',"proxied":true,"prefetched":false,"synthetic":false'
                when 3 then ',"prefetched":null' when 4 then ',"proxied":true'
                else ',"proxied":false,"prefetched":false,"synthetic":false' end
            when 'synthetic' then ',"proxied":false,"prefetched":false,"synthetic":true'
            when 'robot' then ',"machine":true'
            when 'accused' then ',"machine":true'
            when 'denied' then ',"machine":false'
            when 'person' then case draw_int(spelling, 'flags', 0, 9)
                when 0 then '' when 1 then '' when 2 then ',"machine":null' else ',"machine":false' end
            else '' end end as flagged
    from named
),
whole as (
    select *,
        case kind
            when 'newsletter' then '"newsletter_id":88,"content_id":301'
            when 'transactional' then '"transactional_message_id":12'
            when 'broadcast' then '"broadcast_id":15,"trigger_id":4'
                || member('journey_id', path, spelling) || member('action_id', action, spelling)
            else '"trigger_event_id":null' || member('campaign_id', number_text(campaign, spelling), spelling)
                || member('journey_id', path, spelling)
                || member('action_id', event_id_text(action, spelling), spelling)
                || coalesce(',"parent_action_id":' || parent, '') end
            || member('delivery_id', quoted(delivery), spelling) || person || addressed || happened || flagged
            as data,
        '"email_address":"' || address || '"' || person as of_person,
        draw(spelling, 'style') as style
    from part
)
select hour, draw(line_no, 'place in file') as place, line_no, null::varchar as reason, encode(case
    when kind = 'legacy' then old_envelope(event_id, 'email_' || metric, instant,
        '"customer_id":"u-' || user_no || '","email_address":"' || address || '","template_id":5' || happened
        || case when id_no % 3 > 0 then ',"email_id":"' || delivery || '"' else '' end
        || ',"variables":{"campaign":{"id":' || campaign || ',"name":"old"}'
        || case when id_no % 3 < 2 then ',"delivery_id":"' || delivery || '"' else '' end || '}')
    when kind = 'person' then envelope(event_id, 'email', metric, instant, of_person)
    when kind = 'customer' then envelope(event_id, 'customer', metric, instant, of_person)
    when kind = 'preferences' and style < 0.5 then
        replace(envelope(event_id, 'customer', metric, instant, data), 'object_type', 'object_type_type')
    when kind = 'preferences' then
        envelope(event_id, 'customer', 'customer_subscription_preferences_changed', instant, data)
    when style < 0.01 then old_envelope(event_id, object || '_' || metric, moment, data)
    when style < 0.016 then '{"event_id":"' || event_id || '","timestamp":' || instant
        || ',"data":{"event_type":"' || channel || '_' || metric || '",' || data || '}}'
    when style < 0.026 then envelope(event_id, object, channel || '_' || metric, instant, data)
    -- the two disagree, and object_type is right
    when style < 0.0265 and channel = 'email'
        then envelope(event_id, ' email ', 'sms_' || metric, instant, data)
    when style < 0.05 then '{ "data" : {' || data || '} , "timestamp": "' || instant
        || '", "metric" :"' || metric || '", "object_type":"' || object
        || '","received":1,"event_id":"' || event_id || '" }'
    else envelope(event_id, object, metric, moment, data)
    end || case when draw(spelling, 'line end') < 0.003 then chr(13) || chr(10) else chr(10) end) as line
from whole
union all
select hour, draw(junk_no, 'place of junk'), -junk_no, reason, raw || encode(chr(10))
from junk where dataset = 'customerio_events' and hour >= $first and hour < $last
order by hour, place, line_no
"""
