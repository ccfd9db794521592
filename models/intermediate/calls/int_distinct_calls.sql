{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['call_date'],
    meta={'touched': [{'model': 'int_touched_calls', 'on': {'event_timestamp': 'event_timestamp'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{# Equal calls have equal seconds, so everything that may equal a touched call is in the touched seconds. #}
{% set in_touched_seconds -%}
    {%- if is_incremental() -%}
    where event_timestamp in (select event_timestamp from {{ ref('int_touched_calls') }})
    {{- and_between('event_timestamp', 'int_touched_calls', 'event_timestamp') }}
    {%- endif -%}
{%- endset %}

with

calls as (

    select * from {{ ref('int_logged_calls') }}
    {{ in_touched_seconds }}

),

{{ canonical_texts(ref('int_logged_calls'), in_touched_seconds) }},

-- candidates for equality: a distinct over all calls would cost several times as much
moments as (

    select hash(event_timestamp, journey_id) as moment_hash
    from {{ ref('int_logged_calls') }}
    {{ in_touched_seconds }}
    group by hash(event_timestamp, journey_id)
    having count(*) > 1

),

numbered as (

    select
        calls.source_file,
        calls.source_line,
        row_number() over (
            partition by
                calls.event_timestamp,
                calls.user_id,
                calls.campaign_id,
                calls.action_id,
                calls.journey_id,
                calls.copy_id,
                contents.content_hash,
                canonical_attrs.attrs
            order by calls.source_file, calls.source_line
        ) as occurrence
    from {{ ref('int_logged_calls') }} as calls
    inner join moments
        on hash(calls.event_timestamp, calls.journey_id) = moments.moment_hash
    inner join contents
        on
            calls.template_id = contents.template_id
            and calls.vars = contents.logged_vars
    inner join canonical_attrs
        on calls.attrs = canonical_attrs.logged_attrs
    {% if is_incremental() -%}
    where calls.event_timestamp in (select event_timestamp from {{ ref('int_touched_calls') }})
    {{- and_between('calls.event_timestamp', 'int_touched_calls', 'event_timestamp') }}
    {%- endif %}

),

repeats as (

    select
        source_file,
        source_line
    from numbered
    where occurrence > 1

),

canonical_calls as (

    select
        calls.event_timestamp,
        calls.called_at,
        calls.user_id,
        calls.campaign_id,
        calls.action_id,
        calls.journey_id,
        calls.copy_id,
        contents.template_id,
        contents.vars,
        canonical_attrs.attrs,
        contents.content_hash
    from calls
    inner join contents
        on
            calls.template_id = contents.template_id
            and calls.vars = contents.logged_vars
    inner join canonical_attrs
        on calls.attrs = canonical_attrs.logged_attrs
    left join repeats
        on
            calls.source_file = repeats.source_file
            and calls.source_line = repeats.source_line
    where repeats.source_line is null

),

final as (

    select
        case
            when journey_id is not null and action_id is not null
                then {{ surrogate_key(['journey_id', 'action_id']) }}
            else {{ surrogate_key([
                'event_timestamp', 'user_id', 'campaign_id', 'action_id', 'journey_id', 'copy_id', 'template_id', 'vars',
                'attrs',
            ]) }}
        end as delivery_key,
        event_timestamp,
        called_at,
        {{ dbt.date_trunc('hour', 'called_at') }} as call_hour,
        {{ reporting_date('called_at') }} as call_date,
        user_id,
        campaign_id,
        action_id,
        journey_id,
        copy_id,
        template_id,
        vars,
        attrs,
        content_hash
    from canonical_calls

)

select * from final
