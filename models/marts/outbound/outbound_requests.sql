{# A view, because a late call moves the number of every later request. #}
{{ config(materialized='view') }}

with

requests as (

    select * from {{ ref('int_named_requests') }}

),

final as (

    select
        request_id,
        message_id,
        action,
        happened_at,
        row_number() over (order by request_order) as request_number,
        endpoint,
        person_key,
        identifier,
        is_event,
        payload,
        md5(payload) as content_hash,
        held_back_reason
    from requests

)

select * from final
