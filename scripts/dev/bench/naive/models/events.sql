select
    event_id,
    object_type as channel,
    metric,
    make_timestamp(timestamp * 1000000) as event_at,
    data->>'$.delivery_id' as delivery_id,
    data->>'$.journey_id' as journey_id,
    cast(data->>'$.action_id' as bigint) as action_id,
    cast(data->>'$.campaign_id' as bigint) as campaign_id,
    data->>'$.identifiers.id' as user_id,
    data->>'$.href' as href,
    coalesce(cast(data->>'$.prefetched' as boolean), cast(data->>'$.machine' as boolean), false) as is_machine
from {{ source('landing', 'customerio_events') }}
qualify row_number() over (partition by event_id order by timestamp desc) = 1
