{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_request_people', 'on': {'person_key': 'person_key'}}], 'queues': ['int_touched_request_people']}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }},
-- {{ ref('int_destination_calls') }}{% endif %}

with

timeline as (

    select * from {{ ref('int_person_timeline') }}
    where
        action in ('create_or_update_device', 'delete_device')
        and not is_gone
        {% if is_incremental() -%}
        and person_key in (select person_key from {{ ref('int_touched_request_people') }})
        {{- and_between('person_key', 'int_touched_request_people', 'person_key') }}
        {%- endif %}

),

written as (

    select
        request_id,
        person_key,
        request_order,
        happened_at,
        action,
        merge_path,
        {{ json_value('payload', 'device') }} as device
    from timeline

),

named as (

    select
        request_id,
        person_key,
        request_order,
        happened_at,
        action,
        merge_path,
        {{ json_member('device', 'token') }} as token,
        {{ json_member('device', 'platform') }} as platform,
        coalesce({{ json_value('device', 'attributes') }}, '{}') as attributes
    from written

),

{{ ended_by('delete_device', 'named', ['person_key', 'token']) }},

ranked as (

    select
        named.person_key,
        named.token,
        named.platform,
        named.attributes,
        named.happened_at,
        row_number() over (
            partition by named.person_key, named.token
            order by named.merge_path, named.request_order desc
        ) as recency
    from named
    left join ended
        on named.request_id = ended.request_id
    where ended.request_id is null

),

final as (

    select
        person_key,
        token,
        platform,
        attributes,
        happened_at as last_used_at
    from ranked
    where recency = 1

)

select * from final
