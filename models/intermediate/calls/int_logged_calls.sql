{{ config(materialized='view') }}

with

calls as (

    select * from {{ ref('stg_justai__calls') }}

),

sends as (

    select * from {{ ref('stg_justai__sends') }}

),

versions as (

    select * from {{ ref('int_variant_versions') }}

),

final as (

    select
        event_timestamp,
        called_at,
        user_id,
        campaign_id,
        action_id,
        journey_id,
        copy_id,
        template_id,
        vars,
        attrs,
        source_file,
        source_line,
        batch_id
    from calls

    union all

    select
        sends.event_timestamp,
        sends.called_at,
        sends.user_id,
        sends.campaign_id,
        sends.action_id,
        sends.journey_id,
        sends.copy_id,
        versions.template_id,
        versions.vars,
        sends.attrs,
        sends.source_file,
        sends.source_line,
        sends.batch_id
    from sends
    inner join versions
        on
            sends.copy_id = versions.copy_id
            and sends.event_timestamp >= versions.valid_from_timestamp
            and (versions.valid_to_timestamp is null or sends.event_timestamp < versions.valid_to_timestamp)

)

select * from final
