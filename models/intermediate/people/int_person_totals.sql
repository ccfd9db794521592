{{ config(materialized='view') }}

{% set keys = ['person_key'] %}
{% set objects = person_counts() + person_latest() %}

with

sums as (

    select * from {{ ref('int_person_sums') }}
    where events_counted > 0

),

person_ids as (

    select * from {{ ref('int_person_ids') }}

),

identified as (

    select
        person_ids.person_key,
        sums.first_event_at,
        sums.last_event_at,
        sums.events_counted,
        {{ columns_of('sums', objects) }}
    from sums
    inner join person_ids
        on sums.identifier = person_ids.identifier

),

people as (

    select
        person_key,
        min(first_event_at) as first_event_at,
        max(last_event_at) as last_event_at,
        sum(events_counted) as events_counted,
        count(*) as sums_counted
    from identified
    group by person_key

),

several as (

    select person_key
    from people
    where sums_counted > 1

),

to_merge as (

    select
        identified.person_key,
        {{ columns_of('identified', objects) }}
    from identified
    inner join several
        on identified.person_key = several.person_key

),

{{ person_objects('several', keys, keys, 'merged', person_members('to_merge', keys)) }},

merged_or_single as (

    select
        person_key,
        {{ columns_of('merged', objects) }}
    from merged

    union all

    select
        identified.person_key,
        {{ columns_of('identified', objects) }}
    from identified
    inner join people
        on identified.person_key = people.person_key
    where people.sums_counted = 1

),

final as (

    select
        people.person_key,
        people.first_event_at,
        people.last_event_at,
        cast(people.events_counted as {{ dbt.type_bigint() }}) as events_counted,
        {{ columns_of('merged_or_single', objects) }}
    from people
    inner join merged_or_single
        on people.person_key = merged_or_single.person_key

)

select * from final
