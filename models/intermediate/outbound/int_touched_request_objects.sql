{# Objects that touched calls or touched people name, or named; a queue like int_touched_request_people. #}
{% set readers = ['int_object_timeline', 'dim_objects', 'bridge_relationships'] %}
{% set earlier = earlier_relation('int_object_timeline', ['message_id', 'person_key', 'object_key']) %}
{% set named_by = [
    {
        'on': {'message_id': 'message_id'},
        'of': ref('int_touched_pipeline_calls'),
        'and': and_between('message_id', 'int_touched_pipeline_calls', 'message_id'),
    },
    {
        'on': {'person_key': 'person_key'},
        'of': 'touched_people',
        'and': and_between('person_key', 'int_touched_request_people', 'person_key'),
    },
] %}

with

objects as (

    select * from {{ ref('int_objects_of_requests') }}

),

touched_people as (

    select * from {{ ref('int_touched_request_people') }}

),

touched as (

    {% if execute and flags.FULL_REFRESH -%}
    select object_key
    from objects
    {%- else -%}
    select object_key
    from {{ rows_of_any('objects', 'named', named_by) }}
    {%- endif %}
    {%- if earlier %}

    union

    select object_key
    from {{ earlier if execute and flags.FULL_REFRESH else rows_of_any(earlier, 'named', named_by) }}
    {%- endif %}

),

final as (

    {{ rows_of_queue('int_touched_request_objects', 'object_key', readers) }}

)

select * from final
