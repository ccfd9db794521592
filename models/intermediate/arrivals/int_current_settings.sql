{# A view, because a table could lag behind the log when only some models are built. #}
{{ config(materialized='view') }}

with

settings_changes as (

    select * from {{ ref('int_settings_changes') }}

),

latest as (

    select
        template_id,
        max(change_number) as change_number
    from settings_changes
    group by template_id

),

-- a template that lost all its rows has one empty row in the log
final as (

    select
        settings_changes.template_id,
        settings_changes.role,
        settings_changes.campaign_id,
        settings_changes.action_id,
        settings_changes.control_copy_id,
        settings_changes.control_template_id,
        settings_changes.key_metric,
        settings_changes.min_sends,
        settings_changes.control_share
    from settings_changes
    inner join latest
        on
            settings_changes.template_id = latest.template_id
            and settings_changes.change_number = latest.change_number
    where coalesce(
        cast(settings_changes.action_id as {{ dbt.type_string() }}),
        settings_changes.control_copy_id,
        settings_changes.control_template_id,
        settings_changes.key_metric,
        cast(settings_changes.min_sends as {{ dbt.type_string() }}),
        cast(settings_changes.control_share as {{ dbt.type_string() }})
    ) is not null

)

select * from final
