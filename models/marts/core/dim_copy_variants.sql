{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_calls', 'on': {'copy_id': 'copy_id'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

with

runs as (

    select * from {{ ref('int_content_runs') }}
    where
        not is_outvoted
        {% if is_incremental() -%}
        and copy_id in (select copy_id from {{ ref('int_touched_calls') }})
        {{- and_between('copy_id', 'int_touched_calls', 'copy_id') }}
        {%- endif %}

),

compared as (

    select
        copy_id,
        starts_at,
        content_hash,
        template_id,
        vars,
        lag(content_hash) over (partition by copy_id order by starts_at) as previous_hash
    from runs

),

-- a run that continues in the next hour is one version; a version starts where the content differs from the previous
-- call's
starts as (

    select
        copy_id,
        starts_at,
        content_hash,
        template_id,
        vars
    from compared
    where previous_hash is null or previous_hash != content_hash

),

versions as (

    select
        copy_id,
        starts_at,
        content_hash,
        template_id,
        vars,
        lead(starts_at) over (partition by copy_id order by starts_at) as ends_at,
        row_number() over (partition by copy_id order by starts_at) as version_number,
        row_number() over (partition by copy_id, content_hash order by starts_at) as use_of_content
    from starts

),

final as (

    select
        {{ surrogate_key(['copy_id', 'starts_at']) }} as version_key,
        copy_id,
        cast(version_number as {{ dbt.type_bigint() }}) as version_number,
        template_id,
        content_hash,
        {{ json_member('vars', 'subject') }} as subject,
        {{ json_member('vars', 'preheader') }} as preheader,
        {{ json_member('vars', 'body') }} as body,
        vars,
        case
            when version_number = 1 then 'created'
            when use_of_content > 1 then 'reverted'
            else 'edited'
        end as change_type,
        {{ unix_to_timestamp('starts_at') }} as valid_from,
        {{ unix_to_timestamp('ends_at') }} as valid_to,
        ends_at is null as is_current
    from versions

)

select * from final
