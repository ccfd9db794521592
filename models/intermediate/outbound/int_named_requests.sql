{{ config(materialized='view') }}

with

requests as (

    select * from {{ ref('int_outbound_requests') }}

),

person_ids as (

    select * from {{ ref('int_person_ids') }}

),

named as (

    select
        request_id,
        message_id,
        action,
        happened_ms,
        happened_at,
        happened_date,
        endpoint,
        is_event,
        payload,
        held_back_reason,
        {{ person_of_request('person_id_type', 'person_id') }} as identifier
    from requests

),

final as (

    select
        named.request_id,
        named.message_id,
        named.action,
        {{ request_order('named') }} as request_order,
        named.happened_at,
        named.happened_date,
        named.endpoint,
        {{ person_key_of('person_ids', 'named.identifier') }} as person_key,
        named.identifier,
        named.is_event,
        named.payload,
        named.held_back_reason
    from named
    left join person_ids
        on named.identifier = person_ids.identifier

)

select * from final
