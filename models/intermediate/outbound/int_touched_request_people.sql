{# What int_person_timeline holds of these people may be newer than what a build that broke off has read: so they stay
   until every model has read them, as macros/incremental/queues.sql says. A full refresh queues everybody; `execute` lets
   dbt find the refs when it parses for one. #}
{% set readers = ['int_person_timeline', 'int_overfull_requests', 'int_object_timeline', 'dim_people', 'dim_devices'] %}
{% set earlier = earlier_relation(
    'int_person_timeline', ['message_id', 'identifier', 'person_key', 'name_path']
) %}

with

requests as (

    select * from {{ ref('int_named_requests') }}

),

now_named as (

    select person_key
    from requests
    {% if not (execute and flags.FULL_REFRESH) -%}
    where
        message_id in (select message_id from {{ ref('int_touched_pipeline_calls') }})
        {{- and_between('happened_date', 'int_touched_pipeline_calls', 'happened_date') }}
    {%- endif %}

),
{% if earlier %}
person_ids as (

    select * from {{ ref('int_person_ids') }}

),

last_merges as (

    select * from {{ ref('int_last_merges') }}

),

earlier as (

    select * from {{ earlier }}

),

earlier_named as (

    select person_key
    from earlier
    {% if not (execute and flags.FULL_REFRESH) -%}
    where
        message_id in (select message_id from {{ ref('int_touched_pipeline_calls') }})
        {{- and_between('message_id', 'int_touched_pipeline_calls', 'message_id') }}
    {%- endif %}

),

earlier_names as (

    select distinct
        identifier,
        person_key,
        name_path
    from earlier

),

names as (

    select
        earlier_names.person_key as earlier_key,
        {{ person_key_of('person_ids', 'earlier_names.identifier') }} as current_key,
        earlier_names.name_path != coalesce(last_merges.name_path, '') as is_merged_otherwise
    from earlier_names
    left join person_ids
        on earlier_names.identifier = person_ids.identifier
    left join last_merges
        on earlier_names.identifier = last_merges.identifier

),

-- a link or a merge that came or went, whichever feed brought it
renamed as (

    select
        earlier_key,
        current_key
    from names
    where
        earlier_key != current_key
        or is_merged_otherwise

),
{% endif %}
touched as (

    select person_key from now_named
    {%- if earlier %}

    union

    select person_key from earlier_named

    union

    select earlier_key as person_key from renamed

    union

    select current_key as person_key from renamed
    {%- endif %}

),

final as (

    {{ rows_of_queue('int_touched_request_people', 'person_key', readers) }}

)

select * from final
