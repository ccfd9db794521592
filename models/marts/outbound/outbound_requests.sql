{# A view, because a late call moves the number of every later request. #}
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
        happened_at,
        endpoint,
        is_event,
        payload,
        held_back_reason,
        {{ person_of_request('person_id_type', 'person_id') }} as identifier
    from requests

),

-- who is known by these calls alone, and linked to nobody, has the key that int_person_ids would give
final as (

    select
        named.request_id,
        named.message_id,
        named.action,
        named.happened_at,
        row_number() over (order by named.happened_at, named.message_id, named.action) as request_number,
        named.endpoint,
        coalesce(person_ids.person_key, md5(named.identifier)) as person_key,
        named.identifier,
        named.is_event,
        named.payload,
        md5(named.payload) as content_hash,
        named.held_back_reason
    from named
    left join person_ids
        on named.identifier = person_ids.identifier

)

select * from final
