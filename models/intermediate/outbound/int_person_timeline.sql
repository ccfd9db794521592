{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['person_key'],
    meta={'touched': [{'model': 'int_touched_request_people', 'on': {'person_key': 'person_key'}}],
        'queues': ['int_touched_request_people'], 'compared_by': 'int_touched_request_people'}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }},
-- {{ ref('int_destination_calls') }}{% endif %}

with

requests as (

    select * from {{ ref('int_named_requests') }}
    where
        held_back_reason is null
        and person_key is not null
        {% if is_incremental() -%}
        and person_key in (select person_key from {{ ref('int_touched_request_people') }})
        {{- and_between('person_key', 'int_touched_request_people', 'person_key') }}
        {%- endif %}

),

last_merges as (

    select * from {{ ref('int_last_merges') }}

),

placed as (

    select
        requests.request_id,
        requests.message_id,
        requests.person_key,
        requests.identifier,
        requests.request_order,
        requests.happened_at,
        requests.action,
        requests.payload,
        last_merges.merge_order,
        coalesce(last_merges.name_depth, 0) as name_depth,
        case when requests.request_order < last_merges.merge_order then last_merges.name_depth else 0 end
            as merge_depth
    from requests
    left join last_merges
        on requests.identifier = last_merges.identifier

),

-- what deletes and suppresses: of somebody who was merged later, only what was said under that name
ends as (

    select
        request_id,
        message_id,
        person_key,
        identifier,
        request_order,
        happened_at,
        action,
        payload,
        merge_order,
        name_depth,
        merge_depth,
        max(case when action in ('delete_person', 'suppress_person') and merge_depth = 0 then request_order end)
            over (partition by person_key) as last_end,
        max(case when action in ('delete_person', 'suppress_person') then request_order end)
            over (partition by person_key, identifier, merge_depth) as last_own_end,
        max(case when action = 'suppress_person' then request_order end)
            over (
                partition by person_key, case when merge_depth > 0 then identifier end order by request_order
                rows between unbounded preceding and current row
            ) as last_suppressed,
        max(case when action = 'unsuppress_person' then request_order end)
            over (
                partition by person_key, case when merge_depth > 0 then identifier end order by request_order
                rows between unbounded preceding and current row
            ) as last_unsuppressed
    from placed

),

final as (

    select
        request_id,
        message_id,
        person_key,
        identifier,
        request_order,
        happened_at,
        action,
        payload,
        merge_order,
        name_depth,
        merge_depth,
        coalesce(last_suppressed, '') > coalesce(last_unsuppressed, '')
        or request_order <= coalesce(last_own_end, '')
        or (merge_depth = 0 and request_order <= coalesce(last_end, ''))
        or (merge_depth > 0 and merge_order <= coalesce(last_end, '')) as is_gone
    from ends

)

select * from final
