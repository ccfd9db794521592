with

segments as (

    select * from {{ ref('stg_customerio_api__segments') }}

),

members as (

    select * from {{ ref('bridge_segment_members') }}

),

member_counts as (

    select
        segment_id,
        count(*) as member_count
    from members
    group by segment_id

),

final as (

    select
        segments.segment_id,
        segments.name,
        segments.description,
        segments.segment_type,
        segments.state,
        segments.tags,
        cast(coalesce(member_counts.member_count, 0) as {{ dbt.type_bigint() }}) as member_count,
        segments.created_at,
        segments.updated_at
    from segments
    left join member_counts
        on segments.segment_id = member_counts.segment_id

)

select * from final
