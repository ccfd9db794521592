{{ config(materialized='view') }}

with

requests as (

    select * from {{ ref('int_person_requests') }}

),

calls as (

    select * from {{ ref('int_pipeline_calls') }}

),

final as (

    select
        requests.request_id,
        {{ request_order('requests') }} as request_order,
        {{ person_of_request('requests.person_id_type', 'requests.person_id') }} as kept_identifier,
        {{ person_of_request(identifier_type('calls.previous_id'), 'calls.previous_id') }} as merged_identifier
    from requests
    inner join calls
        on
            requests.message_id = calls.message_id
            and requests.happened_date = calls.happened_date
    where
        requests.action = 'merge_people'
        and requests.held_back_reason is null

)

select * from final
