{# Rebuilt whole in each run, in time that grows with the number of people and of what was said about them. #}
{% set steps = 8 %}

with

requests as (

    select * from {{ ref('outbound_requests') }}
    where
        held_back_reason is null
        and person_key is not null

),

merge_requests as (

    select * from {{ ref('int_person_merges') }}

),

numbered_merges as (

    select
        merge_requests.merged_identifier,
        merge_requests.kept_identifier,
        requests.request_number,
        row_number() over (
            partition by merge_requests.merged_identifier
            order by requests.request_number desc
        ) as recency
    from merge_requests
    inner join requests
        on merge_requests.request_id = requests.request_id

),

-- by how many merges somebody is away from who stays at last; a circle ends with the steps
last_merges as (

    select
        merged_identifier,
        kept_identifier,
        request_number
    from numbered_merges
    where recency = 1

),

chain_1 as (

    select
        merged_identifier,
        kept_identifier as at_identifier,
        1 as depth
    from last_merges

),

{% for step in range(2, steps + 1) -%}
chain_{{ step }} as (

    select
        chain.merged_identifier,
        coalesce(last_merges.kept_identifier, chain.at_identifier) as at_identifier,
        chain.depth + case when last_merges.kept_identifier is not null then 1 else 0 end as depth
    from chain_{{ step - 1 }} as chain
    left join last_merges
        on chain.at_identifier = last_merges.merged_identifier

),

{% endfor -%}

placed as (

    select
        requests.request_id,
        requests.person_key,
        requests.identifier,
        requests.request_number,
        requests.happened_at,
        requests.action,
        requests.payload,
        case when requests.request_number < last_merges.request_number then last_merges.request_number end
            as merge_number,
        case when requests.request_number < last_merges.request_number then chain_{{ steps }}.depth else 0 end
            as merge_depth,
        coalesce(chain_{{ steps }}.depth, 0) as name_depth
    from requests
    left join last_merges
        on requests.identifier = last_merges.merged_identifier
    left join chain_{{ steps }}
        on last_merges.merged_identifier = chain_{{ steps }}.merged_identifier

),

-- what deletes: of somebody who was merged later, only what was said under that name
ends as (

    select
        request_id,
        person_key,
        identifier,
        request_number,
        happened_at,
        action,
        payload,
        merge_number,
        merge_depth,
        name_depth,
        max(case when action in ('delete_person', 'suppress_person') and merge_depth = 0 then request_number end)
            over (partition by person_key) as last_end,
        max(case when action in ('delete_person', 'suppress_person') then request_number end)
            over (partition by person_key, identifier, merge_depth) as last_own_end,
        max(case when action = 'suppress_person' then request_number end)
            over (partition by person_key order by request_number rows unbounded preceding) as last_suppressed,
        max(case when action = 'unsuppress_person' then request_number end)
            over (partition by person_key order by request_number rows unbounded preceding) as last_unsuppressed
    from placed

),

final as (

    select
        request_id,
        person_key,
        identifier,
        request_number,
        happened_at,
        action,
        payload,
        merge_depth,
        name_depth,
        coalesce(last_suppressed, 0) > coalesce(last_unsuppressed, 0)
        or request_number <= coalesce(last_own_end, 0)
        or (merge_depth = 0 and request_number <= coalesce(last_end, 0))
        or (merge_depth > 0 and merge_number <= coalesce(last_end, 0)) as is_gone
    from ends

)

select * from final
