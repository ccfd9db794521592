select distinct
    event_timestamp,
    user_id,
    campaign_id,
    action_id,
    journey_id,
    copy_id,
    template_id,
    cast(vars as varchar) as vars,
    cast(attrs as varchar) as attrs
from {{ source('landing', 'justai_calls') }}
