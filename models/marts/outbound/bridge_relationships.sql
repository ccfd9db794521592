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
        person_key is not null
        and not is_object_gone
        and not is_person_gone
        and action != 'delete_object'
        {% if is_incremental() -%}
        and object_key in (select object_key from {{ ref('int_touched_request_objects') }})
        {{- and_between('object_key', 'int_touched_request_objects', 'object_key') }}
        {%- endif %}

),

{{ ended_by('delete_relationship', 'timeline', ['object_key', 'person_key']) }},

written as (

    select
        timeline.object_key,
        timeline.person_key,
        timeline.request_order,
        timeline.happened_at,
        timeline.merge_path,
        coalesce(timeline.relationship_attributes, '{}') as relationship_attributes
    from timeline
    left join ended
        on timeline.request_id = ended.request_id
    where ended.request_id is null

),

opened as (

    {{ json_entries(
        'written', ['object_key', 'person_key', 'request_order', 'merge_path'], 'relationship_attributes'
    ) }}

),

ranked as (

    select
        object_key,
        person_key,
        member_name,
        member_json,
        row_number() over (
            partition by object_key, person_key, member_name
            order by merge_path, request_order desc
        ) as recency
    from opened

),

attributes as (

    select
        object_key,
        person_key,
        {{ json_object_agg('member_name', 'member_json') }} as attributes
    from ranked
    where recency = 1
    group by object_key, person_key

),

relationships as (

    select
        object_key,
        person_key,
        min(happened_at) as first_request_at,
        max(happened_at) as last_request_at
    from written
    group by object_key, person_key

),

final as (

    select
        relationships.object_key,
        relationships.person_key,
        coalesce(attributes.attributes, '{}') as attributes,
        relationships.first_request_at,
        relationships.last_request_at
    from relationships
    left join attributes
        on
            relationships.object_key = attributes.object_key
            and relationships.person_key = attributes.person_key

)

select * from final
