with

sends as (

    select * from {{ ref('stg_justai__sends') }}

),

versions as (

    select * from {{ ref('int_variant_versions') }}

),

first_versions as (

    select
        copy_id,
        min(valid_from_timestamp) as first_valid_from
    from versions
    group by copy_id

),

-- versions of a copy follow each other without a gap: only a send before the first one has none
final as (

    select
        sends.copy_id,
        case when max(first_versions.first_valid_from) is null then 'no_variant' else 'variant_is_later' end as reason,
        count(*) as send_count,
        min(sends.called_at) as first_sent_at,
        max(sends.called_at) as last_sent_at,
        max(sends.loaded_at) as last_loaded_at
    from sends
    left join first_versions
        on sends.copy_id = first_versions.copy_id
    where
        first_versions.copy_id is null
        or sends.event_timestamp < first_versions.first_valid_from
    group by sends.copy_id

)

select * from final
