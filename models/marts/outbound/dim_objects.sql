{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_request_objects', 'on': {'object_key': 'object_key'}}], 'queues': ['int_touched_request_objects']}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }},
-- {{ ref('int_destination_calls') }}{% endif %}

with

timeline as (

    select * from {{ ref('int_object_timeline') }}
    where
        not is_object_gone
        {% if is_incremental() -%}
        and object_key in (select object_key from {{ ref('int_touched_request_objects') }})
        {{- and_between('object_key', 'int_touched_request_objects', 'object_key') }}
        {%- endif %}

),

written as (

    select
        object_key,
        request_order,
        attributes
    from timeline
    where action = 'create_or_update_object'

),

opened as (

    {{ json_entries('written', ['object_key', 'request_order'], 'attributes') }}

),

ranked as (

    select
        object_key,
        member_name,
        member_json,
        row_number() over (
            partition by object_key, member_name
            order by request_order desc
        ) as recency
    from opened

),

attributes as (

    select
        object_key,
        {{ json_object_agg('member_name', 'member_json') }} as attributes
    from ranked
    where recency = 1
    group by object_key

),

objects as (

    select
        object_key,
        object_type_id,
        object_id,
        min(happened_at) as first_request_at,
        max(happened_at) as last_request_at
    from timeline
    where action in ('create_or_update_object', 'create_or_update_person')
    group by object_key, object_type_id, object_id

),

final as (

    select
        objects.object_key,
        objects.object_type_id,
        objects.object_id,
        coalesce(attributes.attributes, '{}') as attributes,
        objects.first_request_at,
        objects.last_request_at
    from objects
    left join attributes
        on objects.object_key = attributes.object_key

)

select * from final
