select
    md5(journey_id || action_id) as delivery_key,
    *,
    make_timestamp(event_timestamp * 1000000) as called_at,
    count(*) over (partition by journey_id, action_id) as call_count
from {{ ref('calls') }}
qualify row_number() over (partition by journey_id, action_id order by event_timestamp desc, copy_id) = 1
