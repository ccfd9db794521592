{{ config(materialized='view') }}

{# A circle of merges ends with the steps, which are as many as int_person_ids follows. #}
{% set steps = 16 %}

with

merge_requests as (

    select * from {{ ref('int_person_merges') }}
    where
        kept_identifier is not null
        and merged_identifier is not null

),

ranked as (

    select
        merged_identifier,
        kept_identifier,
        request_order,
        row_number() over (partition by merged_identifier order by request_order desc) as recency
    from merge_requests

),

last_merges as (

    select
        merged_identifier,
        kept_identifier,
        request_order
    from ranked
    where recency = 1

),

chain_1 as (

    select
        merged_identifier,
        kept_identifier as at_identifier,
        1 as depth,
        request_order as path,
        request_order as joined_order
    from last_merges

),

-- who keeps a name after their own merge counts as who stays, so that merge is not on the way
{% for step in range(2, steps + 1) -%}
chain_{{ step }} as (

    select
        chain.merged_identifier,
        coalesce(last_merges.kept_identifier, chain.at_identifier) as at_identifier,
        chain.depth + case when last_merges.kept_identifier is not null then 1 else 0 end as depth,
        case
            when last_merges.request_order > chain.joined_order
                then last_merges.request_order || {{ path_separator() }} || chain.path
            else chain.path
        end as path,
        case
            when last_merges.request_order > chain.joined_order then last_merges.request_order
            else chain.joined_order
        end as joined_order
    from chain_{{ step - 1 }} as chain
    left join last_merges
        on chain.at_identifier = last_merges.merged_identifier

),

{% endfor -%}

final as (

    select
        last_merges.merged_identifier as identifier,
        last_merges.request_order as merge_order,
        chain_{{ steps }}.depth as name_depth,
        chain_{{ steps }}.path as name_path
    from last_merges
    inner join chain_{{ steps }}
        on last_merges.merged_identifier = chain_{{ steps }}.merged_identifier

)

select * from final
