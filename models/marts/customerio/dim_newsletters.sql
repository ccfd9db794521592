with

newsletters as (

    select * from {{ ref('stg_customerio_api__newsletters') }}

),

contents as (

    select * from {{ ref('stg_customerio_api__contents') }}

),

content_counts as (

    select
        newsletter_id,
        count(*) as content_count
    from contents
    group by newsletter_id

),

final as (

    select
        newsletters.newsletter_id,
        newsletters.name,
        newsletters.channel,
        newsletters.tags,
        cast(coalesce(content_counts.content_count, 0) as {{ dbt.type_bigint() }}) as content_count,
        newsletters.sent_at,
        newsletters.created_at,
        newsletters.updated_at
    from newsletters
    left join content_counts
        on newsletters.newsletter_id = content_counts.newsletter_id

)

select * from final
