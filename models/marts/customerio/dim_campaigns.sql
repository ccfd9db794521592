with

campaigns as (

    select * from {{ ref('stg_customerio_api__campaigns') }}

),

broadcasts as (

    select * from {{ ref('stg_customerio_api__broadcasts') }}

),

final as (

    select
        'campaign' as kind,
        campaign_id,
        cast(null as {{ dbt.type_bigint() }}) as broadcast_id,
        name,
        state,
        is_active,
        tags,
        created_at,
        updated_at,
        first_started_at
    from campaigns

    union all

    select
        'broadcast' as kind,
        cast(null as {{ dbt.type_bigint() }}) as campaign_id,
        broadcast_id,
        name,
        state,
        is_active,
        tags,
        created_at,
        updated_at,
        first_started_at
    from broadcasts

)

select * from final
