{{ config(materialized='view') }}

with

requests as (

    select * from {{ ref('int_person_requests') }}

),

calls as (

    select * from {{ ref('int_pipeline_calls') }}

),

named as (

    select
        requests.request_id,
        {{ request_order('requests') }} as request_order,
        requests.held_back_reason,
        {{ person_of_request('requests.person_id_type', 'requests.person_id') }} as kept_identifier,
        {{ person_of_request(identifier_type('calls.previous_id'), 'calls.previous_id') }} as merged_identifier
    from requests
    inner join calls
        on
            requests.message_id = calls.message_id
            and requests.happened_date = calls.happened_date
    where requests.action = 'merge_people'

),

-- who is forgotten after a merge is no other person than before
final as (

    select
        request_id,
        request_order,
        kept_identifier,
        merged_identifier
    from named
    where
        held_back_reason is null
        or (held_back_reason = 'forgotten_person' and kept_identifier != merged_identifier)

)

select * from final
