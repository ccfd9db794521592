{# A view, because a late call moves the number of every later request. #}
{{ config(materialized='view') }}

with

requests as (

    select * from {{ ref('int_named_requests') }}

),

overfull_requests as (

    select * from {{ ref('int_overfull_requests') }}

),

final as (

    select
        requests.request_id,
        requests.message_id,
        requests.action,
        requests.happened_at,
        row_number() over (order by requests.request_order) as request_number,
        requests.endpoint,
        requests.person_key,
        requests.identifier,
        requests.is_event,
        requests.payload,
        md5(requests.payload) as content_hash,
        case
            when overfull_requests.request_id is not null then 'too_many_attributes' else requests.held_back_reason
        end as held_back_reason
    from requests
    left join overfull_requests
        on requests.request_id = overfull_requests.request_id

)

select * from final
