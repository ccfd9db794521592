{# Objects that touched calls or touched people name, or named; a queue like int_touched_request_people. #}
{% set readers = ['int_object_timeline', 'dim_objects', 'bridge_relationships'] %}
{% set earlier = earlier_relation('int_object_timeline', ['message_id', 'person_key', 'object_key']) %}

with

objects as (

    select * from {{ ref('int_objects_of_requests') }}

),

touched_people as (

    select * from {{ ref('int_touched_request_people') }}

),

touched as (

    select object_key
    from objects
    {% if not (execute and flags.FULL_REFRESH) -%}
    where
        (
            message_id in (select message_id from {{ ref('int_touched_pipeline_calls') }})
            {{- and_between('message_id', 'int_touched_pipeline_calls', 'message_id') }}
        )
        or (
            person_key in (select person_key from touched_people)
            {{- and_between('person_key', 'int_touched_request_people', 'person_key') }}
        )
    {%- endif %}
    {%- if earlier %}

    union

    select object_key
    from {{ earlier }}
    {% if not (execute and flags.FULL_REFRESH) -%}
    where
        (
            message_id in (select message_id from {{ ref('int_touched_pipeline_calls') }})
            {{- and_between('message_id', 'int_touched_pipeline_calls', 'message_id') }}
        )
        or (
            person_key in (select person_key from touched_people)
            {{- and_between('person_key', 'int_touched_request_people', 'person_key') }}
        )
    {%- endif %}
    {%- endif %}

),

final as (

    {{ rows_of_queue('int_touched_request_objects', 'object_key', readers) }}

)

select * from final
