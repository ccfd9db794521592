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
        coalesce(last_merges.name_depth, 0) as name_depth,
        coalesce(last_merges.name_path, '') as name_path,
        case when requests.request_order < last_merges.merge_order then last_merges.name_path else '' end as merge_path
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
        name_depth,
        name_path,
        merge_path,
        max(case when action in ('delete_person', 'suppress_person') and merge_path = '' then request_order end)
            over (partition by person_key) as last_end,
        max(case when action in ('delete_person', 'suppress_person') then request_order end)
            over (partition by person_key, identifier, merge_path) as last_own_end,
        max(case when action = 'suppress_person' then request_order end)
            over (
                partition by person_key, case when merge_path != '' then identifier end order by request_order
                rows between unbounded preceding and current row
            ) as last_suppressed,
        max(case when action = 'unsuppress_person' then request_order end)
            over (
                partition by person_key, case when merge_path != '' then identifier end order by request_order
                rows between unbounded preceding and current row
            ) as last_unsuppressed
    from placed

),

-- somebody who was deleted, and merged later, took along who had been merged into them by then
ends_on_the_way as (

    select
        person_key,
        merge_path || {{ path_separator() }} as merge_path,
        max(request_order) as last_end
    from placed
    where
        action in ('delete_person', 'suppress_person')
        and merge_path != ''
    group by person_key, merge_path

),

ended_on_the_way as (

    select distinct placed.request_id
    from placed
    inner join ends_on_the_way
        on
            placed.person_key = ends_on_the_way.person_key
            and left(placed.merge_path, length(ends_on_the_way.merge_path)) = ends_on_the_way.merge_path
            and substr(placed.merge_path, length(ends_on_the_way.merge_path) + 1) <= ends_on_the_way.last_end

),

-- a path begins with the merge into who stays
final as (

    select
        ends.request_id,
        ends.message_id,
        ends.person_key,
        ends.identifier,
        ends.request_order,
        ends.happened_at,
        ends.action,
        ends.payload,
        ends.name_depth,
        ends.name_path,
        ends.merge_path,
        coalesce(last_suppressed, '') > coalesce(last_unsuppressed, '')
        or ends.request_order <= coalesce(ends.last_own_end, '')
        or (ends.merge_path = '' and ends.request_order <= coalesce(ends.last_end, ''))
        or (ends.merge_path != '' and ends.merge_path <= coalesce(ends.last_end, ''))
        or ended_on_the_way.request_id is not null as is_gone
    from ends
    left join ended_on_the_way
        on ends.request_id = ended_on_the_way.request_id

)

select * from final
