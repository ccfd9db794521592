{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['person_key'],
    meta={'touched': [{'model': 'int_touched_request_people', 'on': {'person_key': 'person_key'}}],
        'queues': ['int_touched_request_people']}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }},
-- {{ ref('int_destination_calls') }}{% endif %}

with

timeline as (

    select * from {{ ref('int_person_timeline') }}
    where
        action = 'create_or_update_person'
        and not is_gone
        {% if is_incremental() -%}
        and person_key in (select person_key from {{ ref('int_touched_request_people') }})
        {{- and_between('person_key', 'int_touched_request_people', 'person_key') }}
        {%- endif %}

),

-- an attribute takes five bytes at least, so most people need no look at their names
long_texts as (

    select person_key
    from timeline
    group by person_key
    having sum(length(payload)) >= 5 * {{ most_attributes() }}

),

written as (

    select
        person_key,
        request_id,
        request_order,
        {{ json_value('payload', 'attributes') }} as attributes
    from timeline
    where person_key in (select person_key from long_texts)

),

opened as (

    {{ json_entries('written', ['person_key', 'request_id', 'request_order'], 'attributes') }}

),

first_said as (

    select
        person_key,
        member_name,
        min(request_order) as first_order
    from opened
    group by person_key, member_name

),

ranked as (

    select
        person_key,
        member_name,
        row_number() over (partition by person_key order by first_order, member_name) as name_number
    from first_said

),

final as (

    select distinct
        opened.person_key,
        opened.request_id
    from opened
    inner join ranked
        on
            opened.person_key = ranked.person_key
            and opened.member_name = ranked.member_name
    where ranked.name_number > {{ most_attributes() }}

)

select * from final
