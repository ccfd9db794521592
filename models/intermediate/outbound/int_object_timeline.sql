{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['object_key'],
    meta={'touched': [{'model': 'int_touched_request_objects', 'on': {'object_key': 'object_key'}}],
        'queues': ['int_touched_request_people', 'int_touched_request_objects'],
        'compared_by': 'int_touched_request_objects'}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }},
-- {{ ref('int_destination_calls') }}{% endif %}

with

objects as (

    {% if is_incremental() -%}
    {%- set is_touched_object -%}
        object_key in (select object_key from {{ ref('int_touched_request_objects') }})
        {{- and_between('object_key', 'int_touched_request_objects', 'object_key') }}
    {%- endset -%}
    -- only the requests of these sets are read for their objects
    select named.*
    from {{ rows_of_any(ref('int_objects_of_requests'), 'named', [
        {
            'on': {'request_id': 'request_id'},
            'of': '(select request_id from ' ~ this ~ ' where ' ~ is_touched_object ~ ') as earlier',
        },
        {
            'on': {'message_id': 'message_id'},
            'of': ref('int_touched_pipeline_calls'),
            'and': and_between('message_id', 'int_touched_pipeline_calls', 'message_id'),
        },
        {
            'on': {'person_key': 'person_key'},
            'of': ref('int_touched_request_people'),
            'and': and_between('person_key', 'int_touched_request_people', 'person_key'),
        },
    ], is_touched_object) }}
    {%- else -%}
    select * from {{ ref('int_objects_of_requests') }}
    {%- endif %}

),

people as (

    select * from {{ ref('int_person_timeline') }}

),

final as (

    select
        objects.request_id,
        objects.message_id,
        objects.object_key,
        objects.object_type_id,
        objects.object_id,
        objects.person_key,
        objects.request_order,
        objects.happened_at,
        objects.action,
        objects.attributes,
        objects.relationship_attributes,
        coalesce(people.merge_path, '') as merge_path,
        coalesce(people.is_gone, false) as is_person_gone,
        objects.request_order <= coalesce(
            max(case when objects.action = 'delete_object' then objects.request_order end)
                over (partition by objects.object_key),
            ''
        ) as is_object_gone
    from objects
    left join people
        on objects.request_id = people.request_id

)

select * from final
