{# A log of the owner's triggers of outbound actions, as int_settings_changes is one of the templates' settings: a
   changed row is a batch like any other, and models take triggers only from here (by int_current_triggers). A full
   refresh keeps the log. #}
{{ config(materialized='incremental', incremental_strategy='append', full_refresh=false) }}

with

triggers as (

    select
        action,
        call_type,
        event_name,
        enabled = 'true' as is_enabled
    from {{ ref('destination_actions') }}

),

{% if is_incremental() -%}
logged as (

    select
        action,
        call_type,
        event_name,
        change_number,
        is_enabled
    from {{ this }}

),
{%- else -%}
logged as (

    select
        action,
        call_type,
        event_name,
        0 as change_number,
        is_enabled
    from triggers
    where false

),
{%- endif %}

ranked as (

    select
        action,
        call_type,
        event_name,
        is_enabled,
        row_number() over (partition by action, call_type, event_name order by change_number desc) as recency
    from logged

),

latest as (

    select
        action,
        call_type,
        event_name,
        is_enabled
    from ranked
    where recency = 1

),

changed as (

    select
        coalesce(triggers.action, latest.action) as action,
        coalesce(triggers.call_type, latest.call_type) as call_type,
        coalesce(triggers.event_name, latest.event_name) as event_name,
        triggers.is_enabled
    from triggers
    full outer join latest
        on
            triggers.action = latest.action
            and triggers.call_type = latest.call_type
            and coalesce(triggers.event_name, '') = coalesce(latest.event_name, '')
    where
        coalesce(cast(triggers.is_enabled as {{ dbt.type_string() }}), '')
        != coalesce(cast(latest.is_enabled as {{ dbt.type_string() }}), '')

),

described as (

    select
        action,
        call_type,
        event_name,
        is_enabled,
        {{ surrogate_key(['action', 'call_type', 'event_name', 'is_enabled']) }} as change_key
    from changed

),

numbers as (

    select coalesce(max(change_number), 0) + 1 as change_number
    from logged

),

-- all changes of one run are one batch; the number keeps apart two that are alike
batches as (

    select
        numbers.change_number,
        md5(
            cast(numbers.change_number as {{ dbt.type_string() }})
            || {{ dbt.listagg('described.change_key', "','", 'order by described.change_key') }}
        ) as batch_id
    from numbers
    cross join described
    group by numbers.change_number

),

final as (

    select
        batches.batch_id,
        described.action,
        described.call_type,
        described.event_name,
        cast(batches.change_number as {{ dbt.type_bigint() }}) as change_number,
        described.is_enabled
    from described
    cross join batches

)

select * from final
