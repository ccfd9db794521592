{{ config(materialized='view') }}

with

variants as (

    select * from {{ ref('dim_copy_variants_current') }}

),

settings as (

    select * from {{ ref('template_settings') }}

),

known as (

    select template_id
    from variants

    union

    select template_id
    from settings

),

final as (

    select
        known.template_id,
        coalesce(settings.name, known.template_id) as name,
        settings.channel,
        settings.key_metric
    from known
    left join settings
        on known.template_id = settings.template_id

)

select * from final
